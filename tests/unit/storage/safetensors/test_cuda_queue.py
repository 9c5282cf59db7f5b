"""What is asked of CUDA, with its runtime replaced, and tensors of the host: what can be wrong without hardware.

`tests/unit/checkpoint/test_cuda_snapshot.py` has the rest.
"""

import contextlib
import types

import pytest
import torch

from model_checkpoint.storage.safetensors import cuda_queue
from model_checkpoint.storage.safetensors.cuda_queue import CudaQueue

DEVICE = torch.device("cuda", 1)


class Runtime:
    """Stands in for ``torch.cuda``; writes down what is asked of it."""

    def __init__(self):
        self.asked = []
        self.code = 0
        self.is_pending = False

    def Stream(self, device):  # noqa: N802 - torch's name
        stream = types.SimpleNamespace()
        stream.wait_stream = lambda other: self.asked.append(f"side waits for {other}")
        self.asked.append(f"stream on {device}")
        return stream

    def current_stream(self, device):
        return f"current of {device}"

    @contextlib.contextmanager
    def stream(self, stream):
        self.asked.append("enter stream")
        yield
        self.asked.append("leave stream")

    def Event(self, *, blocking):  # noqa: N802 - torch's name
        event = types.SimpleNamespace()
        event.record = lambda stream: self.asked.append("record")
        event.synchronize = lambda: self.asked.append(f"synchronize, blocking={blocking}")
        return event

    def device(self, device):
        self.asked.append(f"on {device}")
        return contextlib.nullcontext()

    def cudart(self):
        return types.SimpleNamespace(cudaHostRegister=self._register, cudaHostUnregister=self._unregister)

    def _register(self, address, nbytes, flags):
        self.asked.append(f"register {address} {nbytes} {flags}")
        self.is_pending = self.code != 0
        return self.code

    def _unregister(self, address):
        self.asked.append(f"unregister {address}")
        self.is_pending = self.code != 0
        return self.code


@pytest.fixture
def runtime(monkeypatch):
    """The replaced runtime."""
    made = Runtime()
    for name in ("Stream", "current_stream", "stream", "Event", "device", "cudart"):
        monkeypatch.setattr(torch.cuda, name, getattr(made, name))
    return made


def copied(queue, tensor):
    memory = bytearray(tensor.nbytes)
    queue.copy(tensor, memoryview(memory))
    return bytes(memory)


def stored(tensor):
    return tensor.resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def test_the_side_stream_waits_for_the_one_that_computes_and_the_host_for_an_event(runtime):
    """Values are those at the call; the host sleeps until they are there."""
    queue = CudaQueue(DEVICE)
    queue.follow_current()
    copied(queue, torch.ones(3))
    queue.wait()
    assert runtime.asked == [
        "stream on cuda:1",
        "side waits for current of cuda:1",
        "enter stream",
        "leave stream",
        "record",
        "synchronize, blocking=True",
    ]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).view(4, 6),
        torch.arange(24.0).view(4, 6).t(),
        torch.arange(60.0).view(3, 4, 5).permute(2, 0, 1),
        torch.arange(24.0).view(1, 4, 6).transpose(1, 2),
        torch.arange(40.0)[::2],
        torch.arange(3.0).expand(4, 3),
        torch.complex(torch.arange(6.0), torch.ones(6)).conj(),
        torch.complex(torch.arange(6.0), torch.ones(6)).view(2, 3).conj().t(),
        torch.complex(torch.arange(6.0), torch.ones(6)).conj().imag,
        torch.tensor(5),
        torch.nn.Parameter(torch.ones(2, 3)),
        torch.arange(8, dtype=torch.uint8).view(2, 4).view(torch.float8_e4m3fn).t(),
    ],
    ids=str,
)
@pytest.mark.parametrize("piece_bytes", [16, 32, 1 << 20])
def test_every_kind_of_tensor_is_copied_as_it_is_stored(runtime, monkeypatch, tensor, piece_bytes):
    """Whatever the strides, the pending signs and the size of the pieces, the bytes are those of C order."""
    monkeypatch.setattr(cuda_queue, "_PIECE_BYTES", piece_bytes)
    assert copied(CudaQueue(DEVICE), tensor) == stored(tensor.detach())


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no packed pairs")
def test_packed_pairs_are_copied_as_bytes(runtime):
    """Torch has no kernels for them."""
    pairs = torch.arange(6, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    assert copied(CudaQueue(DEVICE), pairs) == bytes(range(6))


def test_what_is_brought_into_order_on_the_device_is_bounded(runtime, monkeypatch):
    """No copy on the device is larger than a piece, but for a single element; tensors in order need none."""
    sizes = []
    as_stored = cuda_queue._as_stored
    monkeypatch.setattr(cuda_queue, "_PIECE_BYTES", 100)
    monkeypatch.setattr(cuda_queue, "_as_stored", lambda piece: sizes.append(piece.nbytes) or as_stored(piece))
    queue = CudaQueue(DEVICE)
    copied(queue, torch.zeros(1000))
    assert sizes == []
    copied(queue, torch.zeros(50, 7, 3).permute(2, 1, 0))
    assert max(sizes) <= 100
    assert sum(sizes) == 4 * 50 * 7 * 3


@pytest.mark.parametrize("view", [lambda tensor: tensor, lambda tensor: tensor.imag], ids=["conj", "neg"])
def test_pending_signs_are_changed_on_the_device(runtime, monkeypatch, view):
    """Torch would change them in the destination, right after a copy there was enqueued: before the bytes arrive."""
    asked = []
    copy_ = torch.Tensor.copy_

    def copy_and_tell(dest, source, **options):
        asked.append((source.is_conj() or source.is_neg(), bool(options)))
        return copy_(dest, source, **options)

    monkeypatch.setattr(torch.Tensor, "copy_", copy_and_tell)
    copied(CudaQueue(DEVICE), view(torch.complex(torch.arange(6.0), torch.ones(6)).conj()))
    assert asked == [(True, False), (False, True)]


def test_copies_do_not_wait(runtime, monkeypatch):
    """Each copy is enqueued with ``non_blocking``, in pieces too."""
    asked = []
    copy_ = torch.Tensor.copy_

    def copy_and_tell(dest, source, non_blocking=False):
        asked.append(non_blocking)
        return copy_(dest, source, non_blocking)

    monkeypatch.setattr(torch.Tensor, "copy_", copy_and_tell)
    monkeypatch.setattr(cuda_queue, "_PIECE_BYTES", 8)
    monkeypatch.setattr(cuda_queue, "_as_stored", torch.Tensor.contiguous)
    copied(CudaQueue(DEVICE), torch.zeros(2, 2).t())
    assert asked == [True, True]


def test_memory_is_locked_for_every_device_on_the_one_that_asks(runtime):
    """Portable, and without a context on a device that has nothing to do with it."""
    queue = CudaQueue(DEVICE)
    queue.pin(4096, 8192)
    queue.unpin(4096)
    assert runtime.asked[1:] == ["on cuda:1", "register 4096 8192 1", "on cuda:1", "unregister 4096"]


@pytest.mark.parametrize("call", [lambda queue: queue.pin(4096, 1), lambda queue: queue.unpin(4096)])
def test_a_refusal_does_not_haunt_the_next_kernel(runtime, monkeypatch, call):
    """CUDA reports a failed call again with the next kernel; one is started for that, and its error dropped."""

    def ones(size, *, device):
        assert (size, device) == (1, DEVICE)
        if runtime.is_pending:
            runtime.is_pending = False
            raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "ones", ones)
    runtime.code = 2
    with pytest.raises(OSError, match="CUDA error 2"):
        call(CudaQueue(DEVICE))
    assert not runtime.is_pending


def test_a_device_has_one_queue(runtime):
    """Memory on the device that a snapshot took is found again by the next one."""
    cuda_queue.cuda_queue.cache_clear()
    assert cuda_queue.cuda_queue(DEVICE) is cuda_queue.cuda_queue(torch.device("cuda:1"))
    assert cuda_queue.cuda_queue(DEVICE) is not cuda_queue.cuda_queue(torch.device("cuda:0"))
    cuda_queue.cuda_queue.cache_clear()
