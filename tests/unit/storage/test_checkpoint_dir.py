from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from model_checkpoint.errors import (
    CheckpointExistsError,
    CheckpointNotFoundError,
    ConfigurationError,
    FormatError,
    StorageError,
    UnsupportedStateError,
)
from model_checkpoint.storage.checkpoint_dir import CheckpointReport, inspect, load, save, verify
from model_checkpoint.storage.contents import open_contents


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))


class Average:
    """An exponential moving average of a model, as training scripts keep it."""

    def __init__(self, model):
        self.shadow = {name: value.detach().clone() for name, value in model.named_parameters()}
        self.updates = 0

    def update(self, model):
        self.updates += 1
        for name, value in model.named_parameters():
            self.shadow[name].lerp_(value.detach(), 0.1)

    def state_dict(self):
        return {"shadow": self.shadow, "updates": self.updates}

    def load_state_dict(self, state):
        self.shadow, self.updates = state["shadow"], state["updates"]


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, centered=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, max_iter=2),
    "tensor lr": lambda p: torch.optim.AdamW(p, lr=torch.tensor(1e-2)),
}
SCHEDULERS = {
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "onecycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=50, cycle_momentum=False),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
    "sequential": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [torch.optim.lr_scheduler.LinearLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)],
        milestones=[4],
    ),
}


def run(parts, steps, seed):
    """Train a little; everything that a step draws depends on the seed and the step alone."""
    model, optimizer, scheduler, average, scaler = parts
    for step in steps:
        torch.manual_seed(seed + step)
        x = torch.randn(16, 6)

        def closure(x=x):
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        scheduler.step()
        average.update(model)
        scaler.update(2.0 ** (step % 5))


def parts_of(optimizer, scheduler):
    model = network()
    opt = OPTIMIZERS[optimizer](model.parameters())
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(1))  # it makes its tensors when first used
    return model, opt, SCHEDULERS[scheduler](opt), Average(model), scaler


NAMES = ("model", "optimizer", "scheduler", "ema", "scaler")
PAIRS = [*((name, "lambda") for name in OPTIMIZERS), *(("adamw", name) for name in SCHEDULERS if name != "lambda")]


@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # schedulers on the order of calls, and on lambdas
@pytest.mark.parametrize(("optimizer", "scheduler"), PAIRS)
def test_training_goes_on_bit_for_bit_after_a_load(tmp_path, optimizer, scheduler):
    """Model, optimizer, scheduler, scaler and average hold exactly the state that was saved."""
    straight = parts_of(optimizer, scheduler)
    run(straight, range(6), seed=1)
    save(dict(zip(NAMES, straight, strict=True)), tmp_path / "state")
    run(straight, range(6, 12), seed=1)

    resumed = parts_of(optimizer, scheduler)
    run(resumed, range(2), seed=9)
    report = load(tmp_path / "state", into=dict(zip(NAMES, resumed, strict=True)))
    assert report.is_complete
    assert report.tensors > 10
    run(resumed, range(6, 12), seed=1)

    for ours, theirs in zip(resumed[0].state_dict().values(), straight[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert repr(resumed[1].state_dict()) == repr(straight[1].state_dict())
    assert resumed[2].get_last_lr() == straight[2].get_last_lr()
    assert all(torch.equal(resumed[3].shadow[name], straight[3].shadow[name]) for name in straight[3].shadow)
    assert resumed[4].state_dict() == straight[4].state_dict()


@pytest.mark.parametrize("mmap", [False, True])
def test_a_state_comes_back_with_its_sharing(tmp_path, mmap):
    """Shared tensors and views share memory after a load, owned or mapped."""
    w = torch.arange(12.0).reshape(3, 4)
    save({"a": {"w": w, "same": w}, "b": [w[1:], np.arange(3)], "n": 1}, tmp_path / "s")
    state = load(tmp_path / "s", mmap=mmap)
    assert state["a"]["w"] is state["a"]["same"]
    state["a"]["w"][2] = 5
    assert state["b"][0][1].tolist() == [5.0] * 4
    assert load(tmp_path / "s")["a"]["w"][2].tolist() == [8.0, 9.0, 10.0, 11.0]  # the file is as it was


def test_the_directory_is_what_docs_format_says(tmp_path):
    """One plain file for each part, files as given, a manifest, nothing else; nobody may write to the files."""
    (tmp_path / "notes").write_text("hello")
    receipt = save(
        {"model": network(), "step": 1},
        tmp_path / "deep" / "er" / "s",
        files={"config.json": b"{}", "notes.txt": tmp_path / "notes"},
        metadata={"who": "me"},
        metrics={"loss": np.float32(0.5)},
    )
    directory = tmp_path / "deep" / "er" / "s"
    assert sorted(os.listdir(directory)) == ["config.json", "manifest.json", "model.safetensors", "notes.txt"]
    assert (directory / "notes.txt").read_text() == "hello"
    assert all(stat.S_IMODE(os.stat(directory / name).st_mode) & 0o222 == 0 for name in os.listdir(directory))
    assert os.listdir(directory.parent) == ["s"]
    theirs = safetensors.torch.load_file(directory / "model.safetensors")
    assert theirs.keys() == network().state_dict().keys()
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["digest"] == receipt.digest
    assert (manifest["metrics"], manifest["metadata"]) == ({"loss": 0.5}, {"who": "me"})
    assert receipt.nbytes == sum(file["bytes"] for file in manifest["files"])


@pytest.mark.parametrize(("shard_bytes", "count"), [(1, 9), (300, 2), (10_000, 1)])
def test_shards_load_like_one_file(tmp_path, shard_bytes, count):
    """Sharding changes the files and nothing else."""
    model = network()
    save({"model": model, "n": 1}, tmp_path / "s", shard_bytes=shard_bytes)
    shards = sorted(path.name for path in (tmp_path / "s").glob("model*.safetensors"))
    assert len(shards) == count
    if count > 1:
        assert shards[0] == f"model-00001-of-{count:05d}.safetensors"
        index = json.loads((tmp_path / "s" / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == model.state_dict().keys()
        assert set(index["weight_map"].values()) == set(shards)
        assert index["metadata"]["total_size"] == sum(value.nbytes for value in model.state_dict().values())
    state = load(tmp_path / "s")
    assert all(torch.equal(value, state["model"][name]) for name, value in model.state_dict().items())


def test_transformers_opens_a_sharded_checkpoint(tmp_path):
    """With a config.json beside the weights, the directory is what from_pretrained wants; tied weights stay tied."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=64, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    save(
        {"model": model, "n": 1},
        tmp_path / "s",
        files={"config.json": config.to_json_string().encode()},
        shard_bytes=9000,
    )
    assert len(list((tmp_path / "s").glob("model-*.safetensors"))) > 2
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "s")
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in model.state_dict().items())
    assert theirs.lm_head.weight.data_ptr() == theirs.transformer.wte.weight.data_ptr()


def test_a_taken_place_is_never_replaced(tmp_path):
    """Neither a checkpoint nor a file nor an empty directory is overwritten."""
    save({"a": [torch.ones(1)]}, tmp_path / "s")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("s", "empty", "file"):
        with pytest.raises(CheckpointExistsError):
            save({"a": [torch.zeros(1)]}, tmp_path / name)
    assert load(tmp_path / "s")["a"][0].item() == 1
    assert (tmp_path / "file").read_text() == "x"


def test_an_unsupported_state_leaves_nothing_behind(tmp_path):
    """What cannot be stored is found before a directory is made."""
    with pytest.raises(UnsupportedStateError, match="hook"):
        save({"optimizer": {"hook": lambda: None}}, tmp_path / "s")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"files": {"../x": b""}},
        {"files": {"manifest.json": b""}},
        {"files": {"model.safetensors": b""}},
        {"files": {"MODEL.safetensors": b""}},
        {"files": {"x": 5}},
        {"metrics": {"loss": "low"}},
        {"metrics": {5: 1.0}},
        {"metadata": {"a": 1}},
        {"metadata": {"a": "\ud800"}},
        {"shard_bytes": 0},
    ],
    ids=repr,
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, arguments):
    """Names, numbers and texts are checked before anything is visible."""
    with pytest.raises(ConfigurationError):
        save({"model": [torch.ones(1)]}, tmp_path / "s", **arguments)
    assert not (tmp_path / "s").exists()


def test_strict_reads_everything_back(tmp_path):
    """A strict save verifies the staged files before they appear."""
    save({"model": network(), "n": 1}, tmp_path / "s", strict=True)
    assert verify(tmp_path / "s").files == 1


def test_what_is_not_there_is_not_found(tmp_path):
    """A wrong path is told apart from a damaged checkpoint."""
    for function in (load, verify, inspect):
        with pytest.raises(CheckpointNotFoundError):
            function(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="no manifest"):
        load(tmp_path / "empty")


def test_verify_and_inspect_report_what_is_there(tmp_path):
    """Extra files are reported and never used."""
    receipt = save({"model": network(), "n": 1}, tmp_path / "s", files={"config.json": b"{}"})
    (tmp_path / "s" / "stray.txt").write_text("x")
    report = verify(tmp_path / "s")
    assert (report.digest, report.nbytes, report.files, report.extra) == (
        receipt.digest,
        receipt.nbytes,
        2,
        ("stray.txt",),
    )
    shown = inspect(tmp_path / "s")
    assert isinstance(shown, CheckpointReport)
    assert [tensor.name for tensor in shown.files["model.safetensors"].tensors] == list(network().state_dict())
    assert shown.manifest.digest == receipt.digest
    assert verify(tmp_path / "s" / "model.safetensors").digest == shown.files["model.safetensors"].digest


@pytest.mark.parametrize("level", ["full", "auto", "fast", "none"])
def test_every_level_loads_a_sound_checkpoint(tmp_path, level):
    """Levels differ in what they check, not in what they give."""
    save({"a": [torch.arange(5)], "b": b"x" * 9000}, tmp_path / "s")
    state = load(tmp_path / "s", verify=level)
    assert state["a"][0].tolist() == [0, 1, 2, 3, 4]
    assert state["b"] == b"x" * 9000
    with pytest.raises(ConfigurationError):
        load(tmp_path / "s", verify="most")


def test_equal_states_have_equal_contents(tmp_path):
    """The content digest names the state, not the save; another state has another one."""
    state = {"model": network().state_dict(), "n": 1}
    save(state, tmp_path / "a")
    save(copy.deepcopy(state), tmp_path / "b")
    save(state | {"n": 2}, tmp_path / "c")
    contents = [open_contents(tmp_path / name).manifest.content for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_a_state_without_torch_loads_without_torch(tmp_path):
    """Neither saving nor loading arrays and values imports torch."""
    code = """
        import sys
        import numpy as np
        from model_checkpoint.storage.checkpoint_dir import load, save
        save({"a": {"x": np.arange(3), "b": b"x" * 9000}, "n": [1, 2.5]}, sys.argv[1])
        assert load(sys.argv[1])["a"]["x"].tolist() == [0, 1, 2]
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path / "s"], check=True, timeout=60)


def test_loading_runs_no_code_from_the_checkpoint(tmp_path):
    """An audit hook sees no unpickling, no compiling, no executing, no process and no socket during a load."""
    save({"model": network(), "opt": {"lr": 1.0, "t": (1, 2)}, "a": np.arange(3), "b": b"x" * 9000}, tmp_path / "s")
    code = """
        import sys
        from model_checkpoint.storage.checkpoint_dir import load
        load(sys.argv[1])  # imports what it needs
        seen = []
        watched = ("pickle.", "marshal.", "exec", "compile", "import", "subprocess.", "socket.", "ctypes.", "os.system")
        sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(watched) else None)
        load(sys.argv[1])
        load(sys.argv[1], mmap=True)
        print(seen)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "s"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"


@contextlib.contextmanager
def somebody_without_rights():
    """Root may write anywhere: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_parent_is_a_clear_error():
    """The system's reason and the path are in the message, and an existing checkpoint there still loads."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # a checkpoint may be read by whoever may read its parent
        save({"a": [torch.ones(1)]}, f"{directory}/s")
        os.chmod(directory, 0o555)
        with somebody_without_rights():
            with pytest.raises(StorageError, match=f"Permission denied.*{directory}"):
                save({"a": [torch.ones(1)]}, f"{directory}/t")
            assert load(f"{directory}/s")["a"][0].item() == 1
        os.chmod(directory, 0o755)


def test_a_copied_checkpoint_is_a_checkpoint(tmp_path):
    """Checkpoints of their own may be moved and copied with ordinary tools."""
    save({"a": [torch.ones(1)]}, tmp_path / "s")
    shutil.copytree(tmp_path / "s", tmp_path / "t")
    assert load(tmp_path / "t")["a"][0].item() == 1
    os.symlink(tmp_path / "t", tmp_path / "link")
    assert load(tmp_path / "link")["a"][0].item() == 1
