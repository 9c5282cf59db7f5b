"""What can be known of the GPU benchmark without a GPU: that it runs, on the host, and what it says where it cannot."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ceilings, gpu_restore, harness
from benchmarks.models import llama_like


@pytest.fixture(autouse=True)
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only CUDA has does nothing; the model is small, and no storage is asked for direct I/O."""
    empty = torch.empty

    def pageable(*size: int, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        return empty(*size, **options)

    monkeypatch.setattr(torch, "empty", pageable)
    monkeypatch.setattr(harness.gc, "collect", lambda: None)  # it takes longer than all that is timed
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"stand-in for {device}")
    monkeypatch.setattr(gpu_restore, "BlockingAsyncStager", lambda cache_staged_state_dict: None)  # it locks pages
    monkeypatch.setattr(gpu_restore, "settle", lambda: None)
    monkeypatch.setattr(gpu_restore, "drop_cache", lambda _path: None)
    monkeypatch.setattr(gpu_restore, "llama_of", lambda _nbytes: llama_like(1, 64, 128, 16, 256))
    monkeypatch.setattr(ceilings, "direct_read", lambda _path, _memory, _threads: None)
    monkeypatch.setattr(ceilings, "BLOCK", 4096)


@pytest.fixture
def run(tmp_path: Path) -> gpu_restore.Run:
    """A run with its files."""
    made = gpu_restore.Run(torch.device("cpu"), tmp_path, 1, gpu_restore.llama_of(0))
    made.write()
    return made


def test_the_whole_of_it_runs(tmp_path, monkeypatch, capsys):
    """Every group is measured, checked, judged by the targets, and reported."""
    monkeypatch.setattr(gpu_restore, "why_not", lambda: None)
    report = tmp_path / "report.json"
    code = gpu_restore.main(["--device", "cpu", "--repeats", "1", "--dir", str(tmp_path), "--json", str(report)])
    data = json.loads(report.read_text())
    assert code == (0 if all(target["met"] for target in data["targets"]) else 1)
    groups = {name.partition(":")[0] for name in data["samples"]}
    assert groups == {
        *("host to device, page-locked", "device to host, page-locked", "hashing"),
        *("load, hot", "direct read", "load, cold", "stall"),
    }
    assert [(target["what"], target["bound"]) for target in data["targets"]] == [
        ("10 GB, verified, hot, at the rate measured", 1),
        ("hot verified load / safetensors", 2),
        ("hot verified load / the lower of bus and hashing", 0.7),
        ("stall of the better DCP async_save / ours", 6),
    ]
    assert "stand-in for cpu" in capsys.readouterr().out


@pytest.mark.parametrize("streams", gpu_restore.STREAMS)
def test_the_bus_copies_every_byte(monkeypatch, streams):
    """In pieces, the last of which is smaller, from host memory that is used again and again, and back."""
    monkeypatch.setattr(gpu_restore, "PIECE", 8)
    monkeypatch.setattr(gpu_restore, "PINNED_BYTES", 32)
    bus = gpu_restore.Bus(torch.device("cpu"), 70)
    bus._host.copy_(torch.arange(32))
    bus.copy(streams, to_device=True)
    assert bus._memory.tolist() == [index % 32 for index in range(70)]
    bus._memory.fill_(7)
    bus.copy(streams, to_device=False)
    assert bus._host.tolist() == [7] * 32


def test_every_way_to_load_gives_the_model(run):
    """Each row reads the file that was written and is checked; targets that need no ceiling are judged."""
    rows = gpu_restore.restores(run, gpu_restore.warm_cache)
    gpu_restore.bench_hot(run)
    assert len(run.samples) == len(rows) == 9 - len(gpu_restore.missing_peers())
    assert [target.what for target in run.targets] == [
        "10 GB, verified, hot, at the rate measured",
        "hot verified load / safetensors",
    ]


def test_a_wrong_answer_ends_the_run(run):
    """A row that returns other bits than were saved is an error, not a figure."""
    run.state["model.norm.weight"][0] += 1
    with pytest.raises(AssertionError, match=r"model\.norm\.weight differs"):
        gpu_restore.bench_hot(run)


def test_the_target_is_judged_against_the_lower_ceiling(run):
    """Neither a fast bus nor fast hashing alone sets what can be reached."""
    for name, rate in (("host to device, page-locked: 1 stream", 50.0), ("hashing: our kernel", 8.0)):
        run.samples[name] = gpu_restore.Sample((1.0,), int(rate * 1e9))
    gpu_restore.bench_hot(run)
    target = run.targets[-1]
    ours = run.samples[f"load, hot: {gpu_restore.OURS}"].rate
    assert math.isclose(target.value, ours / 8.0)
    assert target.bound == 0.7


def test_a_dry_run_names_what_would_run_and_who_is_missing(capsys, monkeypatch):
    """It needs neither a GPU nor the peers."""
    monkeypatch.setattr(gpu_restore, "missing_peers", lambda: ["fastsafetensors"])
    assert gpu_restore.main(["--dry-run", "--only", "hot"]) == 0
    out = capsys.readouterr().out
    assert gpu_restore.OURS in out
    assert "Run:ai" in out
    assert "not installed: fastsafetensors" in out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device: it would begin to measure")
def test_without_a_device_it_says_so(capsys):
    """Exit code 2 and the reason; nothing is written."""
    assert gpu_restore.main([]) == 2
    assert "needs a CUDA device, and torch" in capsys.readouterr().err
