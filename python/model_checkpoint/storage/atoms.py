"""Values of a state that are neither containers nor tensors, as docs/format.md, 3.3, spells them in JSON."""

from __future__ import annotations

import base64
import binascii
import math
import re
import sys
from collections.abc import Callable
from typing import Any

from model_checkpoint.utils.optional_import import require
from model_checkpoint.utils.strict_json import JsonValue

__all__ = [
    "BYTES_LIMIT",
    "DECODERS",
    "ENCODERS",
    "encode_foreign",
    "scalar_dtype",
    "speak_for_themselves",
    "torch_module",
]

BYTES_LIMIT = 4 * 1024
"""Longer byte strings are stored as tensors."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_INT = re.compile(r"-?[0-9]{1,4300}", re.ASCII)  # what Python converts without complaint
_SCALAR_DTYPE = re.compile(
    r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)|(datetime|timedelta)64(\[[A-Za-z0-9]{1,16}\])?", re.ASCII
)
_TORCH_KINDS = {"$dtype": "dtype", "$layout": "layout", "$memory_format": "memory_format"}


def speak_for_themselves(items: list[Any]) -> bool:
    """Whether a sequence is its own node. Long lists of numbers are common: sampler orders, random states."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return bool(min(items) >= _INT_MIN and max(items) <= _INT_MAX)
    if kinds == {float}:
        return all(map(math.isfinite, items))
    if kinds == {str}:
        return all(map(str.isascii, items))
    return kinds <= {bool, type(None)}


# --- encoding ---------------------------------------------------------------------------------------------------------
# Each raises ValueError, with the reason, for a value that has no form.


def _int(value: int) -> JsonValue:
    return value if _INT_MIN <= value <= _INT_MAX else {"$int": str(value)}


def _float(value: float) -> JsonValue:
    if math.isfinite(value):
        return value
    return {"$float": "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")}


def _complex(value: complex) -> JsonValue:
    return {"$complex": [_float(value.real), _float(value.imag)]}


def _str(value: str) -> JsonValue:
    if not value.isascii():
        value.encode("utf-8")  # a lone surrogate is no character: JSON would change it silently
    return value


def _bytes(value: bytes) -> JsonValue:
    return {"$bytes": base64.b64encode(value).decode("ascii")}


def _itself(value: Any) -> JsonValue:
    result: JsonValue = value
    return result


ENCODERS: dict[type, Callable[[Any], JsonValue]] = {
    type(None): _itself,
    bool: _itself,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: _bytes,
}
"""By exact type: a subclass (an enum, say) would not come back as what it was."""


def encode_foreign(value: object) -> JsonValue:
    """The form of a numpy scalar or one of torch's small values; None if it is neither (None itself has an encoder).

    Raises:
        ValueError: A numpy scalar of a type that has no form.
    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.generic):
        return _scalar(value)
    if torch is None:
        return None
    if isinstance(value, torch.Size):
        return {"$size": list(value)}
    if isinstance(value, torch.device):
        return {"$device": str(value)}
    for form, kind in _TORCH_KINDS.items():
        if isinstance(value, getattr(torch, kind)):
            return {form: str(value).removeprefix("torch.")}
    return None


def _scalar(value: Any) -> JsonValue:
    if not _SCALAR_DTYPE.fullmatch(value.dtype.name):
        raise ValueError(f"numpy scalars of type {value.dtype.name} have no stored form")
    little = value.astype(value.dtype.newbyteorder("<"))
    return {"$scalar": [value.dtype.name, little.tobytes().hex()]}


# --- decoding ---------------------------------------------------------------------------------------------------------
# Each takes what stands beside its `$` key, and raises ValueError or TypeError if that is not its form.


def torch_module() -> Any:
    """Torch itself; imported only for a state that holds something of torch's.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return require("torch", extra="torch")


def scalar_dtype(name: object) -> Any:
    """The numpy dtype of a stored name. The name is checked first: numpy's own parser accepts far too much.

    Raises:
        ValueError: It is no such name.
    """
    if not isinstance(name, str) or not _SCALAR_DTYPE.fullmatch(name):
        raise ValueError("not a dtype")
    import numpy as np

    return np.dtype(name)


def _to_int(text: Any) -> int:
    if type(text) is not str or not _INT.fullmatch(text):
        raise ValueError("not an integer")
    return int(text)


def _to_float(name: Any) -> float:
    if type(name) is not str or name not in _FLOATS:
        raise ValueError("not a special float")
    return _FLOATS[name]


def _pair(parts: Any) -> tuple[Any, Any]:
    if type(parts) is not list or len(parts) != 2:
        raise TypeError("not a list of two")
    return parts[0], parts[1]


def _to_complex(parts: Any) -> complex:
    real, imaginary = _pair(parts)
    return complex(_part(real), _part(imaginary))


def _part(value: Any) -> float:
    if type(value) is dict and value.keys() == {"$float"}:
        return _to_float(value["$float"])
    if type(value) is not float or not math.isfinite(value):
        raise ValueError("not a float")
    return value


def _to_bytes(text: Any) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if len(value) > BYTES_LIMIT or base64.b64encode(value).decode("ascii") != text:
        raise ValueError("more bytes than a tree may hold, or not as they are written")
    return value


def _to_scalar(parts: Any) -> Any:
    name, digits = _pair(parts)
    dtype, raw = scalar_dtype(name), bytes.fromhex(digits)
    if len(raw) != dtype.itemsize or raw.hex() != digits:
        raise ValueError("the scalar's bytes do not fit its dtype")
    import numpy as np

    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)[0]


def _to_size(dimensions: Any) -> Any:
    if type(dimensions) is not list or any(type(n) is not int or not 0 <= n <= _INT_MAX for n in dimensions):
        raise ValueError("not a size")
    return torch_module().Size(dimensions)


def _to_device(text: Any) -> Any:
    if type(text) is not str:
        raise TypeError("not a device")
    try:
        return torch_module().device(text)
    except RuntimeError:
        raise ValueError("not a device") from None


def _torch_constant(kind: str) -> Callable[[Any], Any]:
    def decode(name: Any) -> Any:
        torch = torch_module()
        value = vars(torch).get(name)  # not getattr: that could run a module's hook for a name from a file
        if not isinstance(value, getattr(torch, kind)):
            raise ValueError(f"torch has no {kind} {ascii(name)[:40]}")  # noqa: TRY004 - a name, not a type
        return value

    return decode


DECODERS: dict[str, Callable[[Any], Any]] = {
    "$int": _to_int,
    "$float": _to_float,
    "$complex": _to_complex,
    "$bytes": _to_bytes,
    "$scalar": _to_scalar,
    "$size": _to_size,
    "$device": _to_device,
} | {form: _torch_constant(kind) for form, kind in _TORCH_KINDS.items()}
