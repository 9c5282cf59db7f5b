"""Writes the golden files of this directory: ``python tests/golden/make_golden.py``.

Files of a released version are never written again: later versions must read these bytes. A new feature gets a new
file. The values are spelled out here without a framework, so that nothing but the format decides what is in them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from model_checkpoint.storage.safetensors.alias import Alias, View
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.writer import write_file

HERE = Path(__file__).parent


class Golden(NamedTuple):
    """The content of a golden file.

    Attributes:
        tensors: Dtype, shape and bytes by name, in the order of the header.
        metadata: The user's.
        aliases: Further names.
    """

    tensors: dict[str, tuple[str, tuple[int, ...], bytes]]
    metadata: Mapping[str, str] = MappingProxyType({})
    aliases: Mapping[str, Alias] = MappingProxyType({})


def _i16(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


GOLDEN = {
    "plain_worked_example": Golden({"a": ("U8", (3,), b"\1\2\3")}),
    "plain_empty": Golden({}, {"note": "no tensors"}),
    "plain_dtypes": Golden(
        {
            "bool": ("BOOL", (2,), b"\0\1"),
            "u8": ("U8", (2,), b"\0\xff"),
            "i8": ("I8", (2,), b"\x80\x7f"),
            "f8_e5m2": ("F8_E5M2", (2,), b"\x3c\xbc"),
            "f8_e4m3": ("F8_E4M3", (2,), b"\x38\xb8"),
            "f8_e5m2fnuz": ("F8_E5M2FNUZ", (2,), b"\x40\xc0"),
            "f8_e4m3fnuz": ("F8_E4M3FNUZ", (2,), b"\x40\xc0"),
            "f8_e8m0": ("F8_E8M0", (2,), b"\x7f\x80"),
            "i16": ("I16", (2,), _i16(-2, 300)),
            "u16": ("U16", (2,), struct.pack("<2H", 2, 65535)),
            "f16": ("F16", (2,), struct.pack("<2e", 1.0, -0.5)),
            "bf16": ("BF16", (2,), b"\x80\x3f\x00\xbf"),
            "i32": ("I32", (2,), struct.pack("<2i", -(2**31), 7)),
            "u32": ("U32", (2,), struct.pack("<2I", 2**32 - 1, 7)),
            "f32": ("F32", (2,), struct.pack("<2f", 1.0, -0.5)),
            "c64": ("C64", (2,), struct.pack("<4f", 1.0, -1.0, 0.0, 2.0)),
            "i64": ("I64", (2,), struct.pack("<2q", -(2**63), 7)),
            "u64": ("U64", (2,), struct.pack("<2Q", 2**64 - 1, 7)),
            "f64": ("F64", (2,), struct.pack("<2d", 1.0, -0.5)),
            "f4": ("F4", (2, 4), b"\x10\x32\x54\x76"),
            "f6_e2m3": ("F6_E2M3", (4,), b"\x01\x02\x03"),
            "f6_e3m2": ("F6_E3M2", (4,), b"\x03\x02\x01"),
        }
    ),
    "plain_shapes": Golden(
        {
            "scalar": ("I16", (), _i16(7)),
            "empty": ("F32", (0,), b""),
            "empty.3d": ("F64", (2, 0, 3), b""),
            "ones": ("U8", (1, 1, 1, 1), b"\5"),
            "page": ("U8", (4096,), bytes(range(256)) * 16),
            "odd": ("U8", (7,), b"seven..."[:7]),
            "layer.0/weight ü 日本 \U0001f600": ("I16", (2, 2), _i16(1, 2, 3, 4)),
        },
        {"format": "pt", "key with spaces": 'quotes " and \\ and\nnewline', "ü": "日本"},
    ),
    "plain_aliases": Golden(
        {"base": ("I16", (3, 4), _i16(*range(12))), "alone": ("U8", (1,), b"\1")},
        {},
        {
            "tied": Alias("base"),
            "row": Alias("base", View((4,), (1,), 4)),
            "transposed": Alias("base", View((4, 3), (1, 4), 0)),
            "corner": Alias("base", View((), (), 11)),
            "steps": Alias("base", View((2, 2), (8, 2), 1)),
            "expanded": Alias("base", View((3, 2), (0, 1), 2)),
            "none": Alias("base", View((0, 4), (4, 1), 12)),
        },
    ),
}


def write(name: str, directory: Path) -> Path:
    """Write one of the files."""
    golden = GOLDEN[name]
    path = directory / f"{name}.safetensors"
    specs = [TensorSpec(key, dtype, shape) for key, (dtype, shape, _) in golden.tensors.items()]
    sources = [data for _, _, data in golden.tensors.values()]
    write_file(path, specs, sources, metadata=golden.metadata, aliases=golden.aliases, sync=False)
    return path


if __name__ == "__main__":
    for file_name in GOLDEN:
        if not (HERE / f"{file_name}.safetensors").exists():
            write(file_name, HERE)
