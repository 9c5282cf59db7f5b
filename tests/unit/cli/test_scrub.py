"""`mckpt scrub`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from model_checkpoint import inspect
from model_checkpoint.cli.scrub import scrub_command


@pytest.fixture
def weight(directory_of):
    """Path and offset of the two chunks of a tensor of step 20."""
    path = directory_of(20) / "model.safetensors"
    return path, next(t for t in inspect(path).tensors if t.name == "weight").offset


@pytest.fixture
def backup(root, tmp_path):
    return shutil.copytree(root, tmp_path / "backup")


def test_a_sound_store(mckpt, root):
    """One line says how much was read, and the time is kept over a reindex."""
    done = mckpt("-C", root, "scrub")
    assert done.code == 0
    assert done.out.startswith("7 checkpoints, ")
    assert done.out.endswith(": all sound\n")
    assert mckpt("-C", root, "reindex").code == 0
    assert mckpt("-C", root, "show", "digits:0", "--json").json["verified_at"] is not None
    assert mckpt("-C", root, "scrub", "--older-than", "7d").out.startswith("0 checkpoints, 0 B")


def test_damage_repair_and_the_codes_they_end_with(mckpt, root, directory_of, backup, flip):
    """4 while damage is left, with where a good copy is; 0 once it is repaired."""
    path = directory_of(20) / "model.safetensors"
    offset = next(t for t in inspect(path).tensors if t.name == "bias").offset
    flip(path, offset + 5)
    done = mckpt("-C", root, "scrub")
    assert done.code == 4
    assert done.out.startswith("DAMAGED   digits:20-")
    place = f"model.safetensors: tensor bias, chunk 0, 12 bytes at {offset}: differs from its digest"
    assert place in done.out
    assert "1 damaged\n" in done.out

    done = mckpt("-C", root, "scrub", "digits:20", "--from", backup)
    assert done.code == 4
    assert f"{place}; good copy in {backup}" in done.out
    assert "1 damaged, 1 of them repairable with --repair" in done.out

    done = mckpt("-C", root, "scrub", "digits:20", "--from", backup, "--repair")
    assert done.code == 0
    assert done.out.startswith("repaired  digits:20-")
    assert "1 checkpoint, " in done.out
    assert "1 repaired\n" in done.out
    assert path.read_bytes() == (backup / path.relative_to(root)).read_bytes()
    assert mckpt("-C", root, "scrub").code == 0


def test_json(mckpt, root, weight, backup, flip):
    """All that the text says, and nothing else on standard output."""
    path, offset = weight
    flip(path, offset)
    done = mckpt("-C", root, "scrub", "digits:20", "--from", backup, "--json")
    assert done.code == 4
    (damage,) = done.json["damage"]
    assert damage.pop("checkpoint").startswith("digits:20-")
    assert damage == {
        "file": "model.safetensors",
        "tensor": "weight",
        "chunk": 0,
        "offset": offset,
        "bytes": 1_048_576,
        "message": "differs from its digest",
        "copy": str(backup / path.relative_to(root)),
        "repaired": False,
        "problem": "",
    }
    assert (done.json["checked"], done.json["skipped"], done.json["remaining"]) == (1, [], 0)
    assert done.json["bytes"] > 1_500_000
    assert done.json["seconds"] > 0
    assert done.json["interrupted"] is False


def test_out_of_time(mckpt, root):
    """What was not reached is counted; the code is that of what was."""
    done = mckpt("-C", root, "scrub", "--for", "0.0001ms")
    assert done.code == 0
    assert "out of time: " in done.out
    assert "left; the next scrub goes on from here" in done.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--rate", "fast"], 2, "'fast' is not a rate; write '200MB/s'"),
        (["--rate", "0"], 2, "bytes_per_s is 0"),
        (["--for", "soon"], 2, "'soon' is not a duration"),
        (["--older-than", "0d"], 2, "older_than_s is 0"),
        (["--from", "nowhere"], 3, "there is nothing at 'nowhere'"),
        (["digits:77"], 3, "77"),
    ],
)
def test_mistakes(mckpt, root, words, code, message):
    """Each is named, and nothing is read."""
    done = mckpt("-C", root, "scrub", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


@pytest.mark.parametrize("rate", ["4GB/s", "4GB", "4000000000"])
def test_rates_are_sizes(mckpt, root, rate):
    """With '/s' or without."""
    assert mckpt("-C", root, "scrub", "--rate", rate).code == 0


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_ctrl_c_ends_it_and_it_tells_what_it_has_found(root, directory_of, flip, place, words):
    """The code is 130; damage that was found is told; the next scrub goes on."""
    flip(directory_of(0) / "config.json", 0)
    command = [sys.executable, "-m", "model_checkpoint.cli", "-C", root, "scrub", "--rate", "300kB/s", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not _has_begun(root) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    if words:
        assert json.loads(out)["interrupted"] is True
        assert [damage["file"] for damage in json.loads(out)["damage"]] == ["config.json"]
    else:
        assert "config.json: differs from its digest" in out
        assert "interrupted: " in out


def _has_begun(root):
    return os.path.exists(root / ".scrub.json")


def test_the_help_names_what_it_does():
    """Every option has a line."""
    text = scrub_command.get_help(scrub_command.make_context("scrub", [], resilient_parsing=True))
    for option in ("--repair", "--from", "--rate", "--for", "--older-than", "--json"):
        assert option in text


def test_the_plan_says_what_would_be_read_and_why(mckpt, root):
    """In the order of the scrub, what is left out last; nothing is read."""
    done = mckpt("-C", root, "scrub", "--plan", "--older-than", "7d")
    assert done.code == 0
    heading, *rows, total = done.out.splitlines()
    assert heading.split() == ["ORDER", "CHECKPOINT", "AGE", "SIZE", "BECAUSE"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "-"]
    assert rows[0].endswith("never verified")
    assert "digits:20-" in rows[-1]
    assert "verified " in rows[-1]
    assert total.startswith("6 checkpoints would be read, ")
    plan = mckpt("-C", root, "scrub", "digits:0", "--plan", "--json").json
    assert [(one["due"], one["because"]) for one in plan["plan"]] == [(True, ["never verified"])]
    assert plan["bytes"] == plan["plan"][0]["bytes"] > 0
    assert mckpt("-C", root, "show", "digits:0", "--json").json["verified_at"] is None


def test_a_plan_takes_no_options_of_reading(mckpt, root):
    """They would be without effect."""
    done = mckpt("-C", root, "scrub", "--plan", "--repair")
    assert done.code == 2
    assert "--plan" in done.err
