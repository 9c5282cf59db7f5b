"""Reading plain files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from model_checkpoint.errors import ConfigurationError, StateMismatchError
from model_checkpoint.storage.safetensors.header import Header
from model_checkpoint.storage.safetensors.plain_file import Check, PlainFile, grouped, open_plain
from model_checkpoint.storage.safetensors.tensor_slice import TensorSlice
from model_checkpoint.storage.safetensors.tensors import Adapter, Framework, adapter_named
from model_checkpoint.types import TensorInfo, VerifyLevel
from model_checkpoint.utils.collector import collector_paused

if TYPE_CHECKING:
    import torch

    Device = str | int | torch.device

__all__ = ["TensorFile", "load_file", "open_file", "read_tensors"]

_DEVICE_BATCH_BYTES = 64 * 1024 * 1024
"""How many bytes may wait in host memory on their way to a device."""


def load_file(
    path: str | os.PathLike[str],
    *,
    names: Iterable[str] | None = None,
    device: Device = "cpu",
    framework: Framework = "torch",
    verify: VerifyLevel = "auto",
    mmap: bool = False,
) -> dict[str, Any]:
    """Load tensors of a safetensors file.

    Args:
        path: The file.
        names: Which tensors; only their bytes are read. All of them by default.
        device: Where torch tensors shall lie.
        framework: ``"torch"`` or ``"numpy"``.
        verify: ``"full"`` checks every SHA-256, ``"fast"`` every CRC-32C; both refuse a file without digests.
            ``"auto"`` is ``"full"``, and warns for such a file. ``"none"`` checks nothing but the header.
        mmap: Return views of a private mapping of the file, which they keep alive; writing to one changes it alone.
            Nobody may truncate the file as long as they live: reading a view whose file has lost its bytes ends the
            process (SIGBUS), which nothing can turn into an exception. This call itself raises one. By default, and on
            a device, tensors own their memory.

    Returns:
        The tensors by name: the stored ones in the order of the file, then aliases, which share their memory.

    Raises:
        IntegrityError: The file is damaged, breaks a rule of the format, or cannot be verified as demanded.
        StateMismatchError: The file lacks one of ``names``.
        UnsupportedStateError: The framework lacks a dtype.
        StorageError: The file cannot be read.
        ConfigurationError: There is no such device.
        DeviceError: The device failed.

    Warns:
        UnverifiedWarning: The file has no digests, and ``verify`` is ``"auto"``.
    """
    adapter = _adapter(framework, device)
    plain = open_plain(path)
    return read_tensors(plain, adapter, plain.check(verify), names=names, device=device, mmap=mmap)


def read_tensors(
    plain: PlainFile,
    adapter: Adapter[Any],
    check: Check,
    *,
    names: Iterable[str] | None = None,
    device: Device = "cpu",
    mmap: bool = False,
) -> dict[str, Any]:
    """`load_file` from an open file."""
    header = plain.header
    wanted = header.names if names is None else _known(header, names, plain.path)
    stored = list(dict.fromkeys(map(header.stored_name, wanted)))
    mapped = mmap and _is_host(device)
    values = _mapped(plain, adapter, stored, check) if mapped else _owned(plain, adapter, stored, check, device)
    return {name: _resolved(header, adapter, name, values) for name in wanted}


def _adapter(framework: Framework, device: Device) -> Adapter[Any]:
    if framework == "numpy" and not _is_host(device):
        raise ConfigurationError(f"numpy arrays cannot lie on {device!r}; load with framework='torch'")
    return adapter_named(framework)


def _is_host(device: Device) -> bool:
    return str(device) == "cpu"


def _known(header: Header, names: Iterable[str], path: str) -> list[str]:
    wanted = list(dict.fromkeys([names] if isinstance(names, str) else names))
    unknown = [name for name in wanted if name not in header.entries and name not in header.aliases]
    if unknown:
        raise StateMismatchError(f"{path!r} has no tensor {', '.join(map(repr, unknown[:5]))}", missing=unknown)
    return wanted


def _owned(
    plain: PlainFile, adapter: Adapter[Any], names: Sequence[str], check: Check, device: Device
) -> dict[str, Any]:
    """Stored tensors in their own memory: in one pass, or in batches where a device can only be moved to."""
    if _is_host(device):
        with collector_paused():
            made = [adapter.allocate(plain.spec(name)) for name in names]
        plain.read(plain.whole(names), [memory for _, memory in made], check)
        return {name: value for name, (value, _) in zip(names, made, strict=True)}
    target = adapter.target(device)
    if target is None:
        return _moved(plain, adapter, names, check, device)
    with collector_paused():
        placed = [adapter.allocate_on(plain.spec(name), device) for name in names]
    plain.read_to_device(plain.whole(names), [address for _, address in placed], target, check)
    return {name: value for name, (value, _) in zip(names, placed, strict=True)}


def _moved(
    plain: PlainFile, adapter: Adapter[Any], names: Sequence[str], check: Check, device: Device
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for group in grouped(plain.whole(names), _DEVICE_BATCH_BYTES):
        loaded = _owned(plain, adapter, [span.name for span in group], check, "cpu")
        values.update((name, adapter.move(value, device)) for name, value in loaded.items())
    return values


def _mapped(plain: PlainFile, adapter: Adapter[Any], names: Sequence[str], check: Check) -> dict[str, Any]:
    """Stored tensors as views of one mapping."""
    memory, base = plain.map(names, check), plain.header.data_offset
    with collector_paused():
        return {name: adapter.wrap(plain.spec(name), memory, base + plain.header.entries[name].begin) for name in names}


def _resolved(header: Header, adapter: Adapter[Any], name: str, values: dict[str, Any]) -> Any:
    """A tensor by any of its names; the same object for names of the same tensor."""
    alias = header.aliases.get(name)
    if alias is None:
        return values[name]
    return values[alias.of] if alias.view is None else adapter.strided(values[alias.of], alias.view)


def open_file(
    path: str | os.PathLike[str],
    *,
    device: Device = "cpu",
    framework: Framework = "torch",
    verify: VerifyLevel = "auto",
) -> TensorFile:
    """Open a safetensors file to read some of it; see `load_file` for arguments and errors.

    Returns:
        The open file: a context manager.
    """
    adapter = _adapter(framework, device)
    plain = open_plain(path)
    return TensorFile(plain, adapter, plain.check(verify), device)


class TensorFile:
    """An open safetensors file. Several threads may read from it at once.

    Slices and tensors that were read stay valid after it is closed.
    """

    def __init__(self, plain: PlainFile, adapter: Adapter[Any], check: Check, device: Device) -> None:
        self._plain: PlainFile | None = plain
        self._adapter = adapter
        self._check = check
        self._device = device

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, once reads by other threads have ended."""
        self._plain = None

    def keys(self) -> list[str]:
        """All names: the stored tensors in the order of the file, then the aliases."""
        return list(self._open().header.names)

    def metadata(self) -> dict[str, str]:
        """The user's metadata."""
        return dict(self._open().header.metadata)

    def info(self, name: str) -> TensorInfo:
        """What the header says of a tensor.

        Raises:
            StateMismatchError: There is none of this name.
        """
        plain = self._open()
        _known(plain.header, [name], plain.path)
        return plain.header.info(name)

    def get_tensor(self, name: str) -> Any:
        """Read one tensor.

        Raises:
            StateMismatchError: There is none of this name.
            CorruptionError: Its bytes are damaged.
            StorageError: It cannot be read.
        """
        return read_tensors(self._open(), self._adapter, self._check, names=[name], device=self._device)[name]

    def get_slice(self, name: str) -> TensorSlice:
        """A tensor to be indexed: ``file.get_slice("weight")[:1024]`` reads only the chunks with these rows.

        Raises:
            StateMismatchError: There is none of this name.
        """
        plain = self._open()
        _known(plain.header, [name], plain.path)
        return TensorSlice(plain, name, self._adapter, self._check, None if _is_host(self._device) else self._device)

    def _open(self) -> PlainFile:
        if self._plain is None:
            raise ConfigurationError("the file is closed")
        return self._plain
