"""Our own plain files through the backend interface: any state in one file.

Checkpoints do not come this way: they have one file for each component, and the state tree in the manifest. Here the
tree, if the state is more than a flat dict of torch tensors, goes into the file's metadata.
"""

from __future__ import annotations

from typing import Any, ClassVar

from model_checkpoint.errors import FormatError
from model_checkpoint.storage.base_backend import BaseStorageBackend, register_backend
from model_checkpoint.storage.leaf_reader import read_leaves
from model_checkpoint.storage.leaves import LeafRef
from model_checkpoint.storage.safetensors.plain_file import PlainFile, open_plain
from model_checkpoint.storage.safetensors.writer import prepare
from model_checkpoint.storage.state_tree import ONE_COMPONENT, flatten, references, unflatten
from model_checkpoint.utils import real_path, strict_json

__all__ = ["SafetensorsBackend"]

_TREE = "state_tree"


@register_backend("safetensors")
class SafetensorsBackend(BaseStorageBackend):
    """One safetensors file that proves itself."""

    extension: ClassVar[str] = ".safetensors"

    def save(self, data: Any, path: str) -> None:
        """Write a state.

        Raises:
            UnsupportedStateError: Something in it cannot be stored.
            StorageError: The file exists, or cannot be written.
        """
        target, flat = real_path.of(path), flatten(data, single=True)
        gathered = flat.components.get(ONE_COMPONENT)
        metadata = {_TREE: strict_json.dump(flat.tree)}
        if gathered is None:
            prepare((), metadata=metadata).write(target, ())
        else:
            prepare(gathered.specs, metadata=metadata, aliases=gathered.aliases).write(target, gathered.sources())

    def load(self, path: str) -> Any:
        """Read a state, every byte of it checked.

        Raises:
            IntegrityError: The file is damaged, breaks a rule, or was not written by `save`.
        """
        plain = open_plain(path)
        check = plain.check("full")
        if _TREE not in plain.header.metadata:
            raise FormatError("the file holds tensors, not a state; use load_file", path=plain.path, rule="state")
        tree = strict_json.parse(plain.header.metadata[_TREE].encode(), path=plain.path)
        located = [(ref, _holding(plain, ref)) for ref in references(tree, path=plain.path)]
        leaves = read_leaves(located, check)
        return unflatten(tree, leaves.__getitem__, path=plain.path)


def _holding(plain: PlainFile, ref: LeafRef) -> PlainFile:
    known = ref.name in plain.header.entries or ref.name in plain.header.aliases
    if ref.component != ONE_COMPONENT or not known:
        raise FormatError(
            "the state refers to a tensor that the file lacks", path=plain.path, tensor=ref.name, rule="state"
        )
    return plain
