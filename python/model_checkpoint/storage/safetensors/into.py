"""Loading into tensors that exist."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_checkpoint.errors import StateMismatchError
from model_checkpoint.storage.safetensors.alias import Alias, View
from model_checkpoint.storage.safetensors.plain_file import Check, PlainFile, open_plain
from model_checkpoint.storage.safetensors.sharing import Region, find_aliases
from model_checkpoint.storage.safetensors.tensors import Adapter, adapter_named, framework_of
from model_checkpoint.types import TensorInfo, VerifyLevel

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from 3.12 on

__all__ = ["load_into", "read_into"]


@dataclass(frozen=True, slots=True)
class _Target:
    """A tensor to load into.

    Attributes:
        name: What to load: any name of the file.
        stored: The stored tensor behind that name.
        tensor: The tensor.
        adapter: Its framework.
        memory: Its own memory, if the stored bytes can be read straight into it.
    """

    name: str
    stored: str
    tensor: Any
    adapter: Adapter[Any]
    memory: Buffer | None


def load_into(path: str | os.PathLike[str], targets: Mapping[str, Any], *, verify: VerifyLevel = "auto") -> None:
    """Load tensors of a safetensors file into existing ones of the same dtype and shape.

    Everything is verified before the first byte of a target changes, so that the file is read twice.

    Args:
        path: The file.
        targets: Torch tensors and numpy arrays by the names of what to load into them.
        verify: As for `load_file`.

    Raises:
        StateMismatchError: The file lacks a name, or a target differs in dtype or shape or cannot be written; no
            target has changed.
        IntegrityError: The file is damaged or cannot be verified as demanded; no target has changed.
        StorageError: The file cannot be read.
    """
    plain = open_plain(path)
    read_into(plain, targets, plain.check(verify))


def read_into(plain: PlainFile, targets: Mapping[str, Any], check: Check) -> None:
    """`load_into` from an open file."""
    matched = _matched(plain, targets)
    stored = plain.whole(list(dict.fromkeys(target.stored for target in matched)))
    if check != "none":
        plain.read(stored, None, check)
    # The bytes come from the disk a second time: the checksum, which costs next to nothing, finds what has happened to
    # them in between.
    again: Check = "none" if check == "none" else "crc32c"
    direct = [target for target in matched if target.memory is not None]
    plain.read(
        plain.whole([target.stored for target in direct]),
        [target.memory for target in direct if target.memory is not None],
        again,
    )
    for target in direct:
        target.adapter.was_written(target.tensor)
    for target in matched:
        if target.memory is None:
            _copy_into(plain, target, again)


def _matched(plain: PlainFile, targets: Mapping[str, Any]) -> list[_Target]:
    """Compare all targets with the file, and decide how each is loaded."""
    header = plain.header
    missing = [name for name in targets if name not in header.entries and name not in header.aliases]
    if missing:
        raise StateMismatchError(f"{plain.path!r} has no tensor {', '.join(map(repr, missing[:5]))}", missing=missing)
    frameworks = {name: framework_of(name, tensor) for name, tensor in targets.items()}
    known = {framework: adapter_named(framework) for framework in set(frameworks.values())}
    adapters = {name: known[framework] for name, framework in frameworks.items()}
    _refuse_mismatched(plain, targets, adapters)
    shared = _shared(targets, adapters)
    matched: list[_Target] = []
    for name, tensor in targets.items():
        stored, adapter = header.stored_name(name), adapters[name]
        if _is_loaded_by(shared.get(name), name, plain):
            continue
        is_direct = name not in shared and _view_of(plain, name) is None
        memory = adapter.target(tensor) if is_direct else None
        matched.append(_Target(name, stored, tensor, adapter, memory))
    return matched


def _refuse_mismatched(plain: PlainFile, targets: Mapping[str, Any], adapters: Mapping[str, Adapter[Any]]) -> None:
    faults = [(name, _fault(plain.header.info(name), tensor, adapters[name])) for name, tensor in targets.items()]
    mismatched = [f"{name}: {fault}" for name, fault in faults if fault is not None]
    if mismatched:
        raise StateMismatchError(f"{plain.path!r} does not fit: {'; '.join(mismatched[:5])}", mismatched=mismatched)


def _fault(info: TensorInfo, tensor: Any, adapter: Adapter[Any]) -> str | None:
    """Why stored bytes cannot be loaded into a tensor."""
    spec = adapter.describe(info.name, tensor)
    if (spec.dtype, spec.shape) != (info.dtype, info.shape):
        return f"the file has {info.dtype} {list(info.shape)}, the target {spec.dtype} {list(spec.shape)}"
    return None if adapter.is_writable(tensor) else "the target cannot be written"


def _shared(targets: Mapping[str, Any], adapters: Mapping[str, Adapter[Any]]) -> dict[str, Alias]:
    """Targets that lie in the memory of others: parallel reads into both would race."""
    regions: dict[str, Region] = {}
    for name, tensor in targets.items():
        region = adapters[name].region(tensor, adapters[name].describe(name, tensor))
        if region is not None:
            regions[name] = region
    return find_aliases(regions)


def _is_loaded_by(shared: Alias | None, name: str, plain: PlainFile) -> bool:
    """Whether a target is the same tensor as another one that is loaded with the same bytes."""
    return (
        shared is not None
        and shared.view is None
        and plain.header.stored_name(shared.of) == plain.header.stored_name(name)
        and _view_of(plain, shared.of) == _view_of(plain, name)
    )


def _view_of(plain: PlainFile, name: str) -> View | None:
    alias = plain.header.aliases.get(name)
    return alias.view if alias is not None else None


def _copy_into(plain: PlainFile, target: _Target, check: Check) -> None:
    """Load by way of a temporary tensor."""
    value, memory = target.adapter.allocate(plain.spec(target.stored))
    plain.read(plain.whole([target.stored]), [memory], check)
    view = _view_of(plain, target.name)
    if view is not None:
        value = target.adapter.strided(value, view)
    target.adapter.copy_in(target.tensor, value)
