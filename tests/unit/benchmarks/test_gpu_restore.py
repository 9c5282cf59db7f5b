"""What can be known of the GPU benchmark without a GPU: its rows run, and what it says where it cannot run."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_restore
from benchmarks.models import llama_of


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu_restore.Run:
    """A run on the host, with nothing to synchronize."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    monkeypatch.setattr(gpu_restore, "settle", lambda: None)
    made = gpu_restore.Run(torch.device("cpu"), tmp_path, 1, llama_of(1))
    made.write()
    return made


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


def test_stalls_are_compared_with_the_better_peer(run, monkeypatch):
    """Ours and both of DCP's ways are measured, and what we saved is checked."""
    monkeypatch.setattr(gpu_restore, "BlockingAsyncStager", lambda cache_staged_state_dict: None)  # it locks pages
    gpu_restore.bench_stall(run)
    assert len([name for name in run.samples if name.startswith("stall: ")]) == 3
    assert run.targets[-1].bound == 6


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
