"""PyTorch's own files, for tools that want them. The default backend is faster, checks more, and needs no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from model_checkpoint.errors import FormatError, UnsupportedStateError
from model_checkpoint.storage.atoms import torch_module
from model_checkpoint.storage.base_backend import BaseStorageBackend, register_backend
from model_checkpoint.storage.leaves import LeafRef, restore_leaf
from model_checkpoint.storage.state_tree import ONE_COMPONENT, flatten, unflatten

__all__ = ["PyTorchBackend"]


@register_backend("pytorch")
class PyTorchBackend(BaseStorageBackend):
    """``torch.save`` and ``torch.load(weights_only=True)``: a state of tensors and plain values, no other classes."""

    extension: ClassVar[str] = ".pt"

    def save(self, data: Any, path: str) -> None:
        """Write a state; objects with a ``state_dict()`` are written as that.

        Raises:
            UnsupportedStateError: It holds something that ``weights_only`` loading would refuse: numpy arrays, say.
            OSError: The file system failed.
        """
        torch = torch_module()
        with open(path, "xb") as file:
            try:
                torch.save(_plain(data), file)
            except RuntimeError as error:
                raise _reason_of(error) from error
        try:
            torch.load(path, mmap=True, weights_only=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise UnsupportedStateError(f"torch cannot load this state safely: {error}", where="state") from error

    def load(self, path: str) -> Any:
        """Read a state to the CPU.

        Raises:
            FormatError: The file holds more than tensors and plain values, or is no file of torch's.
        """
        torch = torch_module()
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise FormatError(f"torch refuses the file: {error}", path=path, rule="weights_only") from error


def _reason_of(error: BaseException) -> BaseException:
    """Why torch could not write: when a write fails, it raises an error of its own about the position in the file."""
    reason = error.__context__
    while reason is not None and not isinstance(reason, OSError):
        reason = reason.__context__
    return reason or error


def _plain(state: Any) -> Any:
    """The state with its objects replaced by their state dicts; the tensors are the state's own."""
    flat = flatten(state, single=True)
    gathered = flat.components.get(ONE_COMPONENT)
    if gathered is None:
        return unflatten(flat.tree, lambda _: None, path="state")
    rows = zip(gathered.specs, gathered.tensors, gathered.adapters, strict=True)
    stored = {spec.name: (tensor, adapter) for spec, tensor, adapter in rows}

    def fetch(ref: LeafRef) -> Any:
        alias = gathered.aliases.get(ref.name)
        tensor, adapter = stored[ref.name if alias is None else alias.of]
        view = None if alias is None else alias.view
        return restore_leaf(tensor if view is None else adapter.strided(tensor, view), ref)

    return unflatten(flat.tree, fetch, path="state")
