"""Reading the tensors that a state tree refers to from open plain files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from model_checkpoint.errors import FormatError
from model_checkpoint.storage.leaves import LeafRef, restore_leaf
from model_checkpoint.storage.safetensors.plain_file import Check, PlainFile
from model_checkpoint.storage.safetensors.reader import read_tensors
from model_checkpoint.storage.safetensors.tensors import Framework, adapter_named
from model_checkpoint.utils.collector import collector_paused

__all__ = ["read_leaves"]


@collector_paused()  # all that is made here lives on; reading itself makes nothing
def read_leaves(
    located: Iterable[tuple[LeafRef, PlainFile]], check: Check, *, device: Any = "cpu", mmap: bool = False
) -> dict[LeafRef, Any]:
    """Read and check tensors; those of one framework and one memory share it again.

    Args:
        located: References, each with the file that has its tensor.
        check: How to check.
        device: Where torch tensors shall lie.
        mmap: Whether to return views of private mappings of the files instead of owned memory.

    Raises:
        CorruptionError: Bytes differ from their digest.
        FormatError: A reference asks for what its tensor cannot be (rule ``state``).
        StorageError: A file cannot be read.
    """
    groups: dict[tuple[str, Framework, bool], tuple[PlainFile, list[LeafRef]]] = {}
    for ref, plain in located:
        framework: Framework = "torch" if ref.kind == "tensor" else "numpy"
        mapped = mmap and ref.kind != "bytes"  # of these there will be a copy
        groups.setdefault((plain.path, framework, mapped), (plain, []))[1].append(ref)
    found: dict[LeafRef, Any] = {}
    for (_, framework, mapped), (plain, refs) in groups.items():
        where = device if framework == "torch" else "cpu"
        names = [ref.name for ref in refs]
        values = read_tensors(plain, adapter_named(framework), check, names=names, device=where, mmap=mapped)
        for ref in refs:
            found[ref] = _restored(values[ref.name], ref, plain.path)
    return found


def _restored(stored: Any, ref: LeafRef, path: str) -> Any:
    try:
        return restore_leaf(stored, ref)
    except ValueError as error:
        raise FormatError(str(error), path=path, tensor=ref.name, rule="state") from None
