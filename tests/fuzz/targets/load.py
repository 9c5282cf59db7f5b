"""Whole plain files, loaded and sliced in every mode."""

from __future__ import annotations

import json
import math
import random
import warnings
import zlib
from typing import Any, NamedTuple

import numpy as np
import torch

from model_checkpoint.errors import UnsupportedStateError, UnverifiableError, UnverifiedWarning
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from tests.fuzz import plain_input
from tests.fuzz.memory_file import MemoryFile
from tests.fuzz.rules import check_header
from tests.fuzz.target import Target, Violation
from tests.fuzz.targets.header import decoded

__all__ = ["TARGET"]


class Mode(NamedTuple):
    framework: Any
    mmap: bool
    verify: Any


_MODES = [
    Mode(framework, mmap, verify)
    for framework in ("numpy", "torch")
    for mmap in (False, True)
    for verify in ("auto", "full", "fast", "none")
]
_FILE = MemoryFile("plain-file")


def _seeds(rng: random.Random) -> list[bytes]:
    return [plain_input.random_file(rng, ours=ours) for ours in (False, True, True) * 40]


def _run(raw: bytes) -> str:
    _FILE.replace(raw)
    mode = _MODES[zlib.crc32(raw) % len(_MODES)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedWarning)
        try:
            values = load_file(_FILE.path, **mode._asdict())
        except UnsupportedStateError:
            return f"unsupported by {mode.framework}"
        except UnverifiableError:
            return _unverifiable(raw, mode)
        header = decoded(raw)
        check_header(header, raw, json.loads(raw[8 : header.data_offset]))
        _check_values(values, header, raw)
        _check_slices(values, mode)
    return f"{mode} {header.ours} {bool(header.aliases)}"


def _unverifiable(raw: bytes, mode: Mode) -> str:
    if decoded(raw).ours or mode.verify not in ("full", "fast"):
        raise Violation("a file with digests counts as one without")
    return "unverifiable"


def _check_values(values: dict[str, Any], header: Any, raw: bytes) -> None:
    if tuple(values) != header.names:
        raise Violation("not the tensors of the header")
    for name, entry in header.entries.items():
        begin = header.data_offset + entry.begin
        if _bytes_of(values[name]) != raw[begin : begin + entry.nbytes]:
            raise Violation(f"{name!r} has other bytes than the file")
    for name, alias in header.aliases.items():
        if alias.view is None:
            if values[name] is not values[alias.of]:
                raise Violation(f"{name!r} is not the tensor that it is an alias of")
        else:
            _check_view(values[name], values[alias.of], alias.view)


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if not value.numel():
        return b""
    bits = value.view(torch.uint8) if value.itemsize == 1 else value  # copying truths would make them 0 or 1
    whole = torch.empty(bits.shape, dtype=bits.dtype).copy_(bits)
    return bytes(whole.reshape(-1).view(torch.uint8).numpy())


def _check_view(view: Any, target: Any, wanted: Any) -> None:
    """A view has the shape that the file says and lies in the memory of its target."""
    if tuple(view.shape) != wanted.shape:
        raise Violation("a view of another shape")
    if 0 in wanted.shape:
        return
    address, size = _address(target)
    first, item = _address(view)[0], _item(view)
    last = first + sum((n - 1) * stride for n, stride in zip(wanted.shape, _strides(view), strict=True))
    if first != address + wanted.offset * item or not address <= last <= address + size - item:
        raise Violation("a view of memory that is not its target's")


def _address(value: Any) -> tuple[int, int]:
    if isinstance(value, np.ndarray):
        return value.__array_interface__["data"][0], value.nbytes
    return value.data_ptr(), value.nbytes


def _item(value: Any) -> int:
    return int(value.itemsize)


def _strides(value: Any) -> list[int]:
    """In bytes."""
    if isinstance(value, np.ndarray):
        return list(value.strides)
    return [stride * value.itemsize for stride in value.stride()]


def _check_slices(values: dict[str, Any], mode: Mode) -> None:
    """A slice is what indexing the whole tensor gives."""
    with open_file(_FILE.path, framework=mode.framework, verify=mode.verify) as file:
        for name, value in list(values.items())[:4]:
            if 0 < len(value.shape) <= 8 and math.prod(value.shape) <= 4096:
                part = file.get_slice(name)[: value.shape[0] // 2 + 1]
                if _bytes_of(_truth(part)) != _bytes_of(_truth(value[: value.shape[0] // 2 + 1])):
                    raise Violation(f"a slice of {name!r} has other bytes than the tensor")


def _truth(value: Any) -> Any:
    """Truth values with bytes beyond 0 and 1, which copies may change."""
    return value != 0 if str(value.dtype).endswith("bool") else value


TARGET = Target(
    name="load",
    promise="a file is loaded with exactly its bytes, in every mode, or refused",
    seeds=_seeds,
    read=plain_input.read,
    mutate=plain_input.mutated,
    run=_run,
    weight=0.3,
)
