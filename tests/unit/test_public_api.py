"""What `import model_checkpoint` offers, and what it costs."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import model_checkpoint
from model_checkpoint import errors


def test_every_public_name_is_there():
    """All of __all__ can be had, dir() shows it, and nothing is listed twice."""
    for name in model_checkpoint.__all__:
        if name != "__version__":
            assert getattr(model_checkpoint, name) is not None
    assert set(model_checkpoint.__all__) <= set(dir(model_checkpoint))
    assert sorted(set(model_checkpoint.__all__)) == sorted(model_checkpoint.__all__)


def test_every_error_is_public():
    """Whatever the package raises, users can catch by its public name."""
    assert set(errors.__all__) <= set(model_checkpoint.__all__)


def test_lazy_names_are_those_that_type_checkers_see():
    """The imports for type checkers name the same modules as the lazy ones."""
    tree = ast.parse(pathlib.Path(inspect.getfile(model_checkpoint)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(seen) | {"__version__"} == set(model_checkpoint.__all__)
    for name, module in seen.items():
        assert model_checkpoint._HOMES.get(name, model_checkpoint._ERRORS) == module


def test_an_unknown_name_is_an_attribute_error():
    """A typing mistake is reported as for any module."""
    with pytest.raises(AttributeError, match="no attribute 'CheckpointManger'"):
        model_checkpoint.CheckpointManger  # noqa: B018


def test_the_users_names_are_where_they_say():
    """The alias is the manager itself; base classes and tools live at their documented paths."""
    assert model_checkpoint.EnhancedCheckpointManager is model_checkpoint.CheckpointManager
    for module, name in [
        ("model_checkpoint.checkpoint.manager", "EnhancedCheckpointManager"),
        ("model_checkpoint.storage.base_backend", "BaseStorageBackend"),
        ("model_checkpoint.utils.checksum", "ChecksumCalculator"),
        ("model_checkpoint.checkpoint.cache", "CheckpointCache"),
        ("model_checkpoint.database", "BaseDatabaseConnection"),
    ]:
        assert inspect.isclass(getattr(importlib.import_module(module), name))


def test_import_is_light():
    """`import model_checkpoint` loads no module of ours but the package itself, and nothing heavy."""
    script = "import sys, model_checkpoint as m; print(*(n for n in sys.modules if n.startswith(m.__name__ + '.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
