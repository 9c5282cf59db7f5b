"""Optional dependencies."""

from __future__ import annotations

import json

import pytest

from model_checkpoint.errors import MissingDependencyError
from model_checkpoint.utils.optional_import import require


def test_an_installed_module_is_returned():
    """What is there is imported, submodules included."""
    assert require("json", extra="x") is json
    assert require("json.decoder", extra="x") is json.decoder


def test_a_missing_module_names_the_extra_that_brings_it():
    """The message can be pasted into a shell."""
    with pytest.raises(MissingDependencyError, match=r"pip install 'model-checkpoint-engine\[torch\]'") as caught:
        require("no_such_module.sub", extra="torch")
    assert caught.value.extra == "torch"


def test_a_broken_module_shows_its_own_error(tmp_path, monkeypatch):
    """A dependency that is installed and lacks one of its own is not called missing."""
    (tmp_path / "broken_dependency.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
        require("broken_dependency", extra="x")
    assert not isinstance(caught.value, MissingDependencyError)
