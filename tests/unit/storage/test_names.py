from __future__ import annotations

import pytest

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.names import (
    check_experiment,
    check_file_name,
    check_id,
    checkpoint_name,
    component_of,
    is_component,
    is_file_name,
    parse_checkpoint_name,
    parse_checkpoint_path,
    shard_name,
)

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "C:x",
    "a\0b",
    "a\nb",
    ".hidden",
    "-x",
    "a b",
    "é",
    "x" * 129,
]
HOSTILE += ["manifest.json", "MANIFEST.json", "con", "NUL.txt", "lpt1.safetensors", "a\u202eb", "x:y", "~", "*"]


@pytest.mark.hostile
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_everywhere(name):
    """A name becomes a path only if it is letters, digits and ._- and means nothing to any system."""
    assert not is_file_name(name)
    for check in (check_file_name, check_experiment, check_id, parse_checkpoint_path):
        with pytest.raises(ConfigurationError) as error:
            check(name)
        assert str(error.value).isprintable()
    with pytest.raises(ConfigurationError):
        parse_checkpoint_path(f"{name}/step-00000001-12345678")


@pytest.mark.parametrize("name", ["a", "config.json", "GPT-2_small.v1", "0", "x" * 128, "a..b"])
def test_ordinary_names_are_accepted(name):
    """What people call their files and experiments works."""
    assert check_file_name(name) == name
    assert check_experiment(name) == name


@pytest.mark.parametrize("name", ["catalog.db", "Catalog.DB-wal", "catalog.db-journal"])
def test_an_experiment_cannot_take_the_catalogs_place(name):
    """The catalog lies beside the experiments."""
    with pytest.raises(ConfigurationError, match="experiment"):
        check_experiment(name)


def test_a_checkpoints_name_tells_step_and_id():
    """The directory's name is made and read by one rule."""
    name = checkpoint_name(500, "1f3a9c2e" + "0" * 24)
    assert name == "step-00000500-1f3a9c2e"
    assert parse_checkpoint_name(name) == (500, "1f3a9c2e")
    assert parse_checkpoint_name(checkpoint_name(2**63 - 1, "a" * 32)) == (2**63 - 1, "a" * 8)
    assert parse_checkpoint_path(f"gpt2/{name}") == ("gpt2", name)


@pytest.mark.parametrize("path", ["gpt2", "gpt2/", "gpt2/x/step-00000001-12345678", "gpt2/step-1-12345678", ".trash/a"])
def test_other_paths_are_no_checkpoints(path):
    """A path from a catalog is used only if it has the one form that checkpoints have."""
    with pytest.raises(ConfigurationError):
        parse_checkpoint_path(path)


def test_shards_and_whole_files_are_told_apart():
    """The name of a file gives its component, its number and the count, and no component can be taken for a shard."""
    assert shard_name("model", 1, 1) == "model.safetensors"
    assert component_of("model.safetensors") == ("model", 1, 1)
    assert component_of(shard_name("model", 2, 3)) == ("model", 2, 3)
    assert component_of("model.safetensors.index.json") is None
    assert is_component("model")
    assert not is_component("model-00001-of-00002")
