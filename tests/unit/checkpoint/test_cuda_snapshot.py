"""Saves of tensors on CUDA devices. Skipped where there is none."""

import os

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint.snapshot import SnapshotArena, state_of
from model_checkpoint.storage.safetensors import cuda_queue
from model_checkpoint.storage.safetensors.dtypes import TORCH_NAMES
from model_checkpoint.storage.staged_files import component_files
from model_checkpoint.storage.state_tree import flatten

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch built for it")

DTYPES = [getattr(torch, name) for name in TORCH_NAMES.values() if hasattr(torch, name)]


@pytest.fixture
def arena():
    """Memory that is unlocked at the end."""
    made = SnapshotArena()
    yield made
    made.close()


def bits(tensor):
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return flat.view(torch.uint8) if flat.dim() else flat.view(1).view(torch.uint8)


def take(arena, tensors):
    flat = flatten({"model": tensors})
    files = arena.take(component_files(flat))
    return state_of(flat.tree, files)["model"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (33, 65)], ids=str)
def test_every_dtype_and_shape_comes_back(arena, dtype, shape):
    """The copy has the device's bits."""
    size = torch.empty(shape, dtype=dtype).nbytes
    tensor = torch.randint(0, 2 if dtype is torch.bool else 256, (size,), dtype=torch.uint8)
    tensor = tensor.view(dtype).view(shape).cuda() if size else torch.empty(shape, dtype=dtype, device="cuda")
    if not (shape == () and dtype is getattr(torch, "float4_e2m1fn_x2", None)):  # which the format cannot store
        assert torch.equal(bits(take(arena, {"w": tensor})["w"]), bits(tensor))


@pytest.mark.parametrize("piece_bytes", [64, 32 << 20])
def test_strides_signs_sharing_and_places_come_back(arena, monkeypatch, piece_bytes):
    """Tensors that are not as they are stored, in pieces or not, next to tensors of the host."""
    monkeypatch.setattr(cuda_queue, "_PIECE_BYTES", piece_bytes)
    base = torch.randn(40, 30, device="cuda")
    complex_ = torch.randn(9, 8, dtype=torch.complex64, device="cuda")
    state = {
        "base": base,
        "tied": base,
        "rows": base[3:5],
        "t": torch.randn(20, 50, device="cuda").t(),
        "step": torch.randn(99, device="cuda")[::3],
        "conj": complex_.conj(),
        "neg": torch.randn(9, dtype=torch.complex64, device="cuda").conj().imag,
        "parameter": torch.nn.Parameter(torch.randn(5, device="cuda")),
        "host": torch.randn(12),
        "host_t": torch.randn(3, 4).t(),
    }
    copy = take(arena, state)
    for name, tensor in state.items():
        assert torch.equal(bits(copy[name]), bits(tensor)), name


def test_values_are_those_at_the_call(arena):
    """Work that was enqueued before is waited for, and work that comes after changes nothing."""
    tensor = torch.zeros(32 << 20, device="cuda")
    for value in range(5):
        torch.cuda._sleep(50_000_000)
        tensor.fill_(value)
        copy = take(arena, {"w": tensor})["w"]
        tensor.fill_(-1)
        assert (copy == value).all(), value


def test_values_are_those_of_the_stream_that_is_current(arena):
    """The snapshot follows the stream on which the caller computes."""
    tensor = torch.zeros(1 << 20, device="cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        tensor.fill_(3)
        assert (take(arena, {"w": tensor})["w"] == 3).all()


def test_the_memory_is_locked_and_unlocked(arena):
    """Copies go to page-locked memory; after `close` the addresses can be locked again."""
    take(arena, {"w": torch.zeros(1 << 20, device="cuda")})
    memory = arena._memory
    assert memory.is_locked
    assert torch.frombuffer(memory.view, dtype=torch.uint8).is_pinned()
    view = memory.view
    arena.close()
    assert not torch.frombuffer(view, dtype=torch.uint8).is_pinned()


def test_device_memory_is_bounded(arena):
    """A large tensor that is not in C order takes one piece of device memory, not another tensor's."""
    tensor = torch.zeros(16_000, 16_000, device="cuda").t()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    take(arena, {"w": tensor})
    assert torch.cuda.max_memory_allocated() - before <= cuda_queue._PIECE_BYTES


def test_a_refused_lock_leaves_cuda_usable(arena):
    """Memory that is locked already cannot be locked again; neither the save nor the next kernel fails."""
    queue = cuda_queue.cuda_queue(torch.zeros(1, device="cuda").device)
    take(arena, {"w": torch.zeros(1 << 20, device="cuda")})
    with pytest.raises(OSError, match="cudaHostRegister"):
        queue.pin(torch.frombuffer(arena._memory.view, dtype=torch.uint8).data_ptr(), 4096)
    assert (torch.ones(1000, device="cuda") + 1).sum().item() == 2000


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_in_one_state(arena):
    """Each device's copies follow its own stream; the memory is locked for both."""
    state = {f"w{index}": torch.zeros(8 << 20, device=f"cuda:{index}") for index in (0, 1)}
    for index, tensor in enumerate(state.values()):
        with torch.cuda.device(tensor.device):
            torch.cuda._sleep(100_000_000)
            tensor.fill_(index + 1)
    copy = take(arena, state)
    for tensor in state.values():
        tensor.zero_()
    assert [copy[name].unique().tolist() for name in state] == [[1], [2]]


def test_a_manager_saves_and_restores_what_a_device_had(tmp_path):
    """From the device to a verified checkpoint and back, while training goes on."""
    model = torch.nn.Linear(64, 64, device="cuda")
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with mc.CheckpointManager(tmp_path, experiment="e", progress=False) as manager:
        manager.track(model=model)
        handle = manager.save(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        handle.result()
        manager.load("latest", into={"model": model})
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("nbytes", [1000, 200 << 20])
def test_a_file_from_a_device_is_the_file_from_the_host(tmp_path, nbytes):
    """In pieces through page-locked memory or not, the bytes and digests are the same."""
    host = {"w": torch.randint(0, 256, (nbytes,), dtype=torch.uint8), "t": torch.randn(30, 20).t(), "k": torch.ones(5)}
    device = {name: tensor.cuda() for name, tensor in host.items()}
    device["w"].add_(1).sub_(1)
    mc.save_file(host, tmp_path / "host")
    mc.save_file(device, tmp_path / "device")
    assert (tmp_path / "host").read_bytes() == (tmp_path / "device").read_bytes()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_save_what_lies_on_the_host(arena):
    """It inherits neither the lock nor the memory."""
    take(arena, {"w": torch.ones(1 << 20, device="cuda")})
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            ok = take(arena, {"w": torch.arange(4)})["w"].tolist() == [0, 1, 2, 3]
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert (take(arena, {"w": torch.ones(1 << 20, device="cuda")})["w"] == 1).all()
