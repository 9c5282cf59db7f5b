"""Loads into a CUDA device's memory: on a device where there is one, and everywhere with a driver that has none.

The fake driver (`cpp/tests/device/fake_cuda.cpp`) is compiled here; its device's memory is the host's, so that all but
the copies themselves is what runs on hardware.
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch

from model_checkpoint import load, load_file, open_file, save, save_file
from model_checkpoint.errors import ConfigurationError, CorruptionError
from model_checkpoint.storage.safetensors.dtypes import TORCH_NAMES

FAKE_DRIVER = Path(__file__).parents[4] / "cpp" / "tests" / "device" / "fake_cuda.cpp"

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def some_tensors():
    """All dtypes, no dimension, no element, many small ones, and one larger than a buffer."""
    bits = torch.randint(0, 255, (64,), dtype=torch.uint8)
    dtypes = {getattr(torch, name) for name in TORCH_NAMES.values() if hasattr(torch, name)}
    tensors = {str(dtype): bits.clone().view(dtype) for dtype in dtypes - {torch.bool}}
    tensors |= {"bool": bits > 99, "scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3)}
    tensors |= {f"small.{i}": torch.full((i % 7,), i) for i in range(3000)}
    return tensors | {"large": torch.randn(3_000_001), "view": bits}


def stored(tensor):
    return tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def check_equal(loaded, saved):
    assert loaded
    assert set(loaded) <= set(saved)
    for name, tensor in loaded.items():
        assert (tensor.dtype, tensor.shape) == (saved[name].dtype, saved[name].shape), name
        assert stored(tensor) == stored(saved[name]), name


def damage(path, needle):
    raw = bytearray(path.read_bytes())
    raw[raw.index(needle)] ^= 1
    path.write_bytes(raw)


# --- without a device -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda", 0)])
def test_a_device_that_is_not_there_is_named(tmp_path, device, mmap):
    """Torch's own error would name none."""
    save_file({"a": torch.ones(3)}, tmp_path / "file")
    with pytest.raises(ConfigurationError, match=str(device)):
        load_file(tmp_path / "file", device=device, mmap=mmap)


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory):
    """A directory with a libcuda.so.1."""
    compiler = shutil.which("c++")
    if compiler is None or not FAKE_DRIVER.exists():
        pytest.skip("needs a C++ compiler and the sources to make a fake driver")
    directory = tmp_path_factory.mktemp("driver")
    arguments = ["-std=c++20", "-O1", "-shared", "-fPIC", str(FAKE_DRIVER), "-o", str(directory / "libcuda.so.1")]
    subprocess.run([compiler, *arguments], check=True)
    return directory


PRELUDE = """
import sys
import torch
from model_checkpoint import errors, load, load_file, open_file, save, save_file
from model_checkpoint.storage.safetensors import torch_adapter
from model_checkpoint.storage.safetensors.device_target import DeviceTarget

# The host plays the device: tensors "on cuda" lie in host memory, which is the fake device's.
def allocate_on(self, spec, device):
    tensor, memory = self.allocate(spec)
    memoryview(memory)[:] = bytes([0x5A]) * spec.nbytes
    return tensor, tensor.data_ptr()

torch_adapter._usable = lambda device: torch.device(device)
torch_adapter._is_cuda = lambda device: True
torch_adapter.TorchAdapter.target = lambda self, device: DeviceTarget(0, 0)
torch_adapter.TorchAdapter.allocate_on = allocate_on
directory = sys.argv[1]
"""


def run_on_fake(driver, tmp_path, code):
    """Run code in a process whose CUDA driver is the fake."""
    path = os.pathsep.join(filter(None, [str(driver), os.environ.get("LD_LIBRARY_PATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(tmp_path)],
        env={**os.environ, "LD_LIBRARY_PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_load_goes_through_the_driver(fake_driver, tmp_path):
    """Tensors, a subset, one of an open file, and those of a checkpoint arrive bit for bit."""
    code = """
    saved = {"a": torch.randn(3_000_001), "b": torch.arange(5), "none": torch.zeros(0), "scalar": torch.tensor(2.5)}
    saved |= {f"small.{i}": torch.full((i % 9,), i) for i in range(2000)}
    save_file(saved, directory + "/file")
    for verify in ("full", "fast", "none"):
        loaded = load_file(directory + "/file", device="cuda", verify=verify)
        assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    assert list(load_file(directory + "/file", device="cuda", names=["b"])) == ["b"]
    with open_file(directory + "/file", device="cuda") as file:
        assert torch.equal(file.get_tensor("a"), saved["a"])
    save({"model": saved}, directory + "/checkpoint")
    again = load(directory + "/checkpoint", device="cuda")["model"]
    assert all(torch.equal(again[name], saved[name]) for name in saved)
    """
    run_on_fake(fake_driver, tmp_path, code)


def test_a_module_is_filled_in_one_call(fake_driver, tmp_path):
    """Parameters and tied ones, buffers, and single tensors get their values, and autograd hears of it."""
    code = """
    from model_checkpoint import _native
    calls = []
    copy_to_cuda = _native.copy_to_cuda
    _native.copy_to_cuda = lambda *args, **options: calls.append(len(args[0])) or copy_to_cuda(*args, **options)

    def module(seed):
        torch.manual_seed(seed)
        made = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.BatchNorm1d(300), torch.nn.Linear(300, 300))
        made[2].weight = made[0].weight
        return made

    saved, target = module(1), module(2)
    lone = torch.zeros(7)
    save({"model": saved, "lone": torch.arange(7.0), "step": 3}, directory + "/checkpoint")
    version = target[0].weight._version
    into = {"model": target, "lone": lone, "step": None}
    report = load(directory + "/checkpoint", into=into)
    assert report.is_complete and into["step"] == 3
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in saved.state_dict().items())
    assert torch.equal(lone, torch.arange(7.0))
    assert target[2].weight is target[0].weight and target[0].weight._version > version
    print(*calls)
    """
    assert run_on_fake(fake_driver, tmp_path, code) == ["8", "1"]  # the tied weight once


def test_damage_is_found_before_a_module_changes(fake_driver, tmp_path):
    """A flipped bit raises, from a file and into a module, which stays as it was."""
    code = """
    import glob
    saved, target = torch.nn.Linear(500, 500), torch.nn.Linear(500, 500)
    save({"model": saved}, directory + "/checkpoint")
    (path,) = glob.glob(directory + "/checkpoint/*.safetensors")
    raw = bytearray(open(path, "rb").read())
    raw[-100] ^= 1
    open(path, "wb").write(raw)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    into = {"model": target}
    for call in (lambda: load(directory + "/checkpoint", into=into), lambda: load_file(path, device="cuda")):
        try:
            call()
        except errors.CorruptionError as error:
            assert error.tensor in saved.state_dict()
        else:
            raise SystemExit("no error")
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
    """
    run_on_fake(fake_driver, tmp_path, code)


def test_a_failure_of_the_device_is_an_error_of_its_own(fake_driver, tmp_path):
    """It is neither corruption nor a failure of storage, and says which device."""
    code = """
    torch_adapter.TorchAdapter.target = lambda self, device: DeviceTarget(5, 0)
    save_file({"a": torch.ones(3)}, directory + "/file")
    try:
        load_file(directory + "/file", device="cuda:5")
    except errors.DeviceError as error:
        assert "CUDA_ERROR_INVALID_DEVICE" in str(error) and "cuda:5" in str(error)
        assert isinstance(error, RuntimeError)
        print("raised")
    """
    assert run_on_fake(fake_driver, tmp_path, code) == ["raised"]


# --- on a device ------------------------------------------------------------------------------------------------------


@needs_cuda
@pytest.mark.parametrize("verify", ["full", "fast", "none"])
@pytest.mark.parametrize("mmap", [False, True])
def test_every_tensor_arrives(tmp_path, verify, mmap):
    """Of every dtype and shape, bit for bit, all and some of them."""
    saved = some_tensors()
    save_file(saved, tmp_path / "file")
    loaded = load_file(tmp_path / "file", device="cuda:0", verify=verify, mmap=mmap)
    assert all(tensor.is_cuda for tensor in loaded.values())
    check_equal(loaded, saved)
    assert len(loaded) == len(saved)
    some = load_file(tmp_path / "file", device="cuda", names=["large", "scalar", "small.17"], verify=verify, mmap=mmap)
    check_equal(some, saved)
    assert len(some) == 3


@needs_cuda
def test_an_open_file_gives_tensors_and_slices(tmp_path):
    """One at a time."""
    saved = {"a": torch.randn(1000, 1000)}
    save_file(saved, tmp_path / "file")
    with open_file(tmp_path / "file", device="cuda:0") as file:
        check_equal({"a": file.get_tensor("a")}, saved)
        assert torch.equal(file.get_slice("a")[3:5].cpu(), saved["a"][3:5])


@needs_cuda
def test_memory_that_kernels_still_use_is_not_written_too_early(tmp_path):
    """Torch hands memory out again while kernels that use it are still queued."""
    saved = {"a": torch.randn(4_000_000)}
    save_file(saved, tmp_path / "file")
    for _ in range(5):
        old = torch.zeros(4_000_000, device="cuda")
        torch.cuda._sleep(200_000_000)
        old.fill_(7)
        del old
        check_equal(load_file(tmp_path / "file", device="cuda"), saved)


@needs_cuda
def test_damage_raises_and_frees_the_memory(tmp_path):
    """No tensor stays on the device."""
    saved = {"a": torch.randn(3_000_000), "b": torch.arange(100, dtype=torch.int64) + 0x0123456789}
    save_file(saved, tmp_path / "file")
    damage(tmp_path / "file", stored(saved["b"]))
    before = torch.cuda.memory_allocated()
    with pytest.raises(CorruptionError):
        load_file(tmp_path / "file", device="cuda")
    assert torch.cuda.memory_allocated() == before


@needs_cuda
def test_a_module_on_the_device_is_loaded_in_place(tmp_path):
    """The parameters stay where they are, no memory of the device is taken, and later work sees the values."""
    saved, target = torch.nn.Linear(2000, 2000), torch.nn.Linear(2000, 2000).cuda()
    save({"model": saved}, tmp_path / "checkpoint")
    addresses = [parameter.data_ptr() for parameter in target.parameters()]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    load(tmp_path / "checkpoint", into={"model": target})
    assert torch.cuda.max_memory_allocated() == before
    assert [parameter.data_ptr() for parameter in target.parameters()] == addresses
    check_equal(target.state_dict(), saved.state_dict())


@needs_cuda
def test_the_callers_device_stays_current(tmp_path):
    """A load to one device changes nothing of the thread's choice."""
    save_file({"a": torch.ones(3)}, tmp_path / "file")
    before = torch.cuda.current_device()
    last = torch.cuda.device_count() - 1
    assert load_file(tmp_path / "file", device=f"cuda:{last}")["a"].device.index == last
    assert torch.cuda.current_device() == before


@needs_cuda
def test_ctrl_c_ends_a_load_and_the_device_goes_on(tmp_path):
    """A signal's exception leaves the load, and the next load is right."""
    saved = {"a": torch.randn(50_000_000)}
    save_file(saved, tmp_path / "file")
    load_file(tmp_path / "file", device="cuda")

    def interrupt():
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
        while True:
            load_file(tmp_path / "file", device="cuda")
    thread.join()
    check_equal(load_file(tmp_path / "file", device="cuda"), saved)
