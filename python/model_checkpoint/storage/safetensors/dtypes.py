"""Element types of the format, and what numpy and torch call them.

The names are persistent: never rename or reuse one. Frameworks are named, not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DTYPES", "ML_DTYPES_NAMES", "NUMPY_NAMES", "TORCH_NAMES", "DType"]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes:
        name: As headers spell it.
        bits: Size of one element in bits; below 8 elements are packed.
    """

    name: str
    bits: int


_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}

DTYPES: Mapping[str, DType] = MappingProxyType({name: DType(name, bits) for name, bits in _BITS.items()})
"""Every element type of the format by name."""

NUMPY_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool",
        "U8": "uint8",
        "I8": "int8",
        "I16": "int16",
        "U16": "uint16",
        "F16": "float16",
        "I32": "int32",
        "U32": "uint32",
        "F32": "float32",
        "C64": "complex64",
        "I64": "int64",
        "U64": "uint64",
        "F64": "float64",
    }
)
"""What numpy itself can hold."""

ML_DTYPES_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "BF16": "bfloat16",
        "F8_E5M2": "float8_e5m2",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E8M0": "float8_e8m0fnu",
    }
)
"""What numpy can hold with the ``ml_dtypes`` package, whose four and six bit types are not packed."""

TORCH_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool",
        "U8": "uint8",
        "I8": "int8",
        "F8_E5M2": "float8_e5m2",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E8M0": "float8_e8m0fnu",
        "I16": "int16",
        "U16": "uint16",
        "F16": "float16",
        "BF16": "bfloat16",
        "I32": "int32",
        "U32": "uint32",
        "F32": "float32",
        "C64": "complex64",
        "I64": "int64",
        "U64": "uint64",
        "F64": "float64",
        "F4": "float4_e2m1fn_x2",
    }
)
"""What torch can hold, if it is new enough. One element of its four bit type is a pair: the last dimension halves."""
