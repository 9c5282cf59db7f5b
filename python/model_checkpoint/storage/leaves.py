"""Tensors and arrays on their way between a state and a file: what is stored of them, and how it is put back."""

from __future__ import annotations

import functools
import sys
from typing import Any, Literal, NamedTuple

from model_checkpoint.storage.atoms import scalar_dtype, torch_module
from model_checkpoint.storage.safetensors.dtypes import ML_DTYPES_NAMES, NUMPY_NAMES, TORCH_NAMES

__all__ = ["LeafRef", "StoredLeaf", "is_leaf", "restore_leaf", "stored_bytes", "stored_leaf"]

LeafKind = Literal["tensor", "array", "bytes"]

_NUMPY_STORED = frozenset({*NUMPY_NAMES.values(), *ML_DTYPES_NAMES.values()})
_TORCH_PAIRS = frozenset({"complex128", "complex32"})


class LeafRef(NamedTuple):
    """Where a tensor of a state is stored, and what it is besides its bytes.

    Attributes:
        component: Its component.
        name: Its name there; that of an alias for a view.
        kind: ``tensor`` of torch, ``array`` of numpy, or long ``bytes``.
        dtype: Its element type, where the stored one is another.
        parameter: Whether it is an ``nn.Parameter``.
        requires_grad: Whether torch records operations on it.
    """

    component: str
    name: str
    kind: LeafKind
    dtype: str | None = None
    parameter: bool = False
    requires_grad: bool = False


class StoredLeaf(NamedTuple):
    """What a file takes of a leaf.

    Attributes:
        value: A torch tensor or numpy array of an element type that the format has; it shares memory with the leaf
            if that is possible.
        kind: As in `LeafRef`.
        options: The further members of its node in the state tree.
    """

    value: Any
    kind: LeafKind
    options: dict[str, bool | str]


def is_leaf(value: object) -> bool:
    """Whether a value is a torch tensor or a numpy array, of whatever kind."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (torch is not None and isinstance(value, torch.Tensor)) or (
        numpy is not None and isinstance(value, numpy.ndarray)
    )


def stored_leaf(value: Any) -> StoredLeaf:
    """Take a tensor or array apart.

    Raises:
        ValueError: It cannot be stored; the text says why.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _stored_tensor(torch, value)
    return _stored_array(value)


def stored_bytes(value: bytes) -> StoredLeaf:
    """A long byte string as an array of U8."""
    import numpy as np

    return StoredLeaf(np.frombuffer(value, np.uint8), "bytes", {})


def _stored_tensor(torch: Any, tensor: Any) -> StoredLeaf:
    parameter = type(tensor) is torch.nn.Parameter
    if not parameter and type(tensor) is not torch.Tensor:
        raise ValueError(f"the tensor subclass {type(tensor).__name__} would come back as a plain tensor")
    if tensor.layout is not torch.strided:
        raise ValueError(f"a tensor of layout {tensor.layout}; only strided tensors have plain bytes")
    if tensor.is_meta:
        raise ValueError("a tensor on the meta device has no bytes")
    options: dict[str, bool | str] = {"parameter": True} if parameter else {}
    if tensor.requires_grad:
        options["requires_grad"] = True
        tensor = tensor.detach()
    elif parameter:
        tensor = tensor.detach()
    dtype = tensor.dtype
    if dtype.is_complex:
        tensor = tensor.resolve_conj()
    elif dtype not in _torch_stored():
        raise ValueError(f"tensors of {dtype} have no stored form")
    tensor = tensor.resolve_neg()
    name = str(dtype).removeprefix("torch.")
    if name in _TORCH_PAIRS:
        options["dtype"] = name
        tensor = torch.view_as_real(tensor)
    return StoredLeaf(tensor, "tensor", options)


@functools.cache
def _torch_stored() -> frozenset[Any]:
    """What torch knows of the format's element types."""
    torch = torch_module()
    return frozenset(getattr(torch, name) for name in TORCH_NAMES.values() if hasattr(torch, name))


def _stored_array(array: Any) -> StoredLeaf:
    import numpy as np

    if type(array) is not np.ndarray and type(array) is not np.memmap:
        raise ValueError(f"the array subclass {type(array).__name__} would come back as a plain array")
    dtype = array.dtype
    if not dtype.isnative:
        raise ValueError(f"an array of foreign byte order; use .astype({dtype.newbyteorder('=').str!r})")
    if dtype.name in _NUMPY_STORED:
        return StoredLeaf(array, "array", {})
    if dtype.name == "complex128":
        return StoredLeaf(array[..., np.newaxis].view(np.float64), "array", {"dtype": dtype.name})
    if dtype.kind in "mM":
        return StoredLeaf(array.view(np.int64), "array", {"dtype": dtype.name})
    raise ValueError(f"arrays of {dtype} have no stored form")


def restore_leaf(stored: Any, ref: LeafRef) -> Any:
    """Make the leaf that a stored tensor or array was taken from; it shares memory with ``stored``, bytes do not.

    Raises:
        ValueError: The reference asks for what the stored one cannot be.
    """
    try:
        if ref.kind == "tensor":
            return _restored_tensor(stored, ref)
        return stored.tobytes() if ref.kind == "bytes" else _restored_array(stored, ref.dtype)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"the tensor {ref.name!r} cannot be what the state says: {error}") from None


def _restored_tensor(tensor: Any, ref: LeafRef) -> Any:
    torch = torch_module()
    if ref.dtype is not None:
        if ref.dtype not in _TORCH_PAIRS:
            raise ValueError(f"not a dtype of pairs: {ref.dtype!r:.24}")
        tensor = torch.view_as_complex(tensor)
        if str(tensor.dtype) != f"torch.{ref.dtype}":
            raise ValueError(f"its pairs make {tensor.dtype}, not {ref.dtype}")
    if ref.parameter:
        return torch.nn.Parameter(tensor, requires_grad=ref.requires_grad)
    return tensor.detach().requires_grad_() if ref.requires_grad else tensor


def _restored_array(array: Any, dtype: str | None) -> Any:
    if dtype is None:
        return array
    target = scalar_dtype(dtype)
    if target.kind in "mM" and array.dtype.name == "int64":
        return array.view(target)
    if target.name == "complex128" and array.dtype.name == "float64" and array.shape[-1:] == (2,):
        return array.view(target)[..., 0]
    raise ValueError(f"{array.dtype} of shape {array.shape} is not how {target} is stored")
