"""CUDA's side of `device_copy`, through torch. Imported only where a tensor lies on such a device."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch

from model_checkpoint.storage.safetensors.torch_bits import bits_of

__all__ = ["CudaQueue", "cuda_queue"]

_PIECE_BYTES = 32 * 1024 * 1024
"""The device memory that a snapshot takes, in bytes: tensors are brought into C order this much at a time."""

_PORTABLE = 1  # cudaHostRegisterPortable: locked for every device, not only for the one that asked


class CudaQueue:
    """`DeviceQueue` of one CUDA device: a stream beside the one that computes.

    Args:
        device: Which one, with its index.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def follow_current(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def copy(self, tensor: torch.Tensor, dest: memoryview) -> None:
        bits = bits_of(tensor.detach())
        host = torch.frombuffer(dest, dtype=bits.dtype).view(bits.shape)
        with torch.cuda.stream(self._stream):
            for piece, place in _pieces(bits, host):
                place.copy_(piece if _is_stored(piece) else _as_stored(piece), non_blocking=True)

    def wait(self) -> None:
        done = torch.cuda.Event(blocking=True)
        done.record(self._stream)
        done.synchronize()

    def pin(self, address: int, nbytes: int) -> None:
        # On this device, or CUDA would take memory of the first one for a context that nobody needs.
        with torch.cuda.device(self._device):
            code = torch.cuda.cudart().cudaHostRegister(address, nbytes, _PORTABLE)
            self._check("cudaHostRegister", int(code))

    def unpin(self, address: int) -> None:
        with torch.cuda.device(self._device):
            self._check("cudaHostUnregister", int(torch.cuda.cudart().cudaHostUnregister(address)))

    def _check(self, call: str, code: int) -> None:
        if code == 0:
            return
        # CUDA remembers the error for the thread, and torch would blame the next kernel for it: let one take the blame.
        with contextlib.suppress(RuntimeError):
            torch.ones(1, device=self._device)
        raise OSError(f"{call}: CUDA error {code}")


@functools.cache
def cuda_queue(device: torch.device) -> CudaQueue:
    """The queue of a device. One for all snapshots: the memory of its pieces belongs to the stream, and is reused."""
    return CudaQueue(device)


def _is_stored(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()


def _as_stored(piece: torch.Tensor) -> torch.Tensor:
    """A copy on the device, in C order.

    Signs that are still to be changed are changed here: torch would do it on the host, before the bytes are there.
    The room may be freed as soon as the copy from it is enqueued: it is given out again in the order of the stream,
    and always has the same size, so that it is the same room.
    """
    room = torch.empty(max(_PIECE_BYTES, piece.nbytes), dtype=torch.uint8, device=piece.device)
    return room[: piece.nbytes].view(piece.dtype).view(piece.shape).copy_(piece)


def _pieces(tensor: torch.Tensor, dest: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """A tensor and its place; in pieces, the first dimensions cut, if it must be brought into C order."""
    if _is_stored(tensor) or tensor.nbytes <= _PIECE_BYTES:
        yield tensor, dest
    elif len(tensor) == 1:
        yield from _pieces(tensor[0], dest[0])
    else:
        rows = max(1, _PIECE_BYTES * len(tensor) // tensor.nbytes)
        for part, place in zip(tensor.split(rows), dest.split(rows), strict=True):
            yield from _pieces(part, place)
