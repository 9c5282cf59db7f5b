"""Which store a command works on."""

from pathlib import Path

import pytest

from model_checkpoint.cli.root import is_store, require_store, resolve_root
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCKPT_ROOT", raising=False)
    return tmp_path


def test_the_option_wins_over_everything(place, monkeypatch):
    """-C beats the environment and the working directory."""
    (place / "catalog.db").touch()
    monkeypatch.setenv("MCKPT_ROOT", "elsewhere")
    assert resolve_root("given") == Path("given")


def test_the_environment_wins_over_the_working_directory(place, monkeypatch):
    """MCKPT_ROOT beats a working directory that is a store."""
    (place / "catalog.db").touch()
    monkeypatch.setenv("MCKPT_ROOT", "elsewhere")
    assert resolve_root(None) == Path("elsewhere")


@pytest.mark.parametrize("sign", ["catalog.db", "gpt2/experiment.json"])
def test_the_working_directory_is_taken_if_it_is_a_store(place, sign):
    """A catalog or an experiment makes a directory a store."""
    (place / sign).parent.mkdir(exist_ok=True)
    (place / sign).touch()
    assert resolve_root(None) == Path()
    assert is_store(place)


def test_the_default_is_runs(place):
    """Elsewhere the store is ./runs."""
    assert resolve_root(None) == Path("runs")


def test_an_empty_root_is_refused(place):
    """`-C "$UNSET"` must not fall back to another store."""
    with pytest.raises(ConfigurationError, match="empty"):
        resolve_root("")


def test_looking_for_a_store_makes_none(place):
    """A root that is not there is reported, with how to name another, and not created."""
    with pytest.raises(CheckpointNotFoundError, match=r"missing does not exist; name one with -C DIR or MCKPT_ROOT"):
        require_store(place / "missing")
    with pytest.raises(CheckpointNotFoundError, match="is not a store"):
        require_store(place)
    assert list(place.iterdir()) == []
