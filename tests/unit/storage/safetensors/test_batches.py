"""Bytes on their way to a file: what must be made is made a batch at a time."""

import contextlib
import os
import weakref

import pytest
import torch

from model_checkpoint import load_file, save, save_file, verify
from model_checkpoint.errors import ConfigurationError, StorageError
from model_checkpoint.storage.safetensors import batches
from model_checkpoint.storage.safetensors.batches import Part
from model_checkpoint.storage.safetensors.torch_adapter import TorchAdapter

MIB = 1 << 20


@pytest.fixture
def small(monkeypatch):
    """Budgets that need no large tensors."""
    monkeypatch.setattr(batches, "_MADE_BYTES", 3 * MIB)
    monkeypatch.setattr(batches, "_PIECE_BYTES", MIB)


def state():
    generator = torch.Generator().manual_seed(0)
    complex_ = torch.randn(3, 5, dtype=torch.complex64, generator=generator)
    return {
        "large": torch.randn(7 * MIB // 8 + 3, dtype=torch.float64, generator=generator),
        "middle": torch.randn(MIB // 2, dtype=torch.float32, generator=generator),
        "half": torch.randn(999, 33, generator=generator).to(torch.bfloat16),
        "t": torch.randn(700, 50, generator=generator).t(),
        "conj": complex_.conj(),
        "scalar": torch.tensor(True),
        "empty": torch.empty(0, 4),
        "host": torch.randn(MIB // 4, generator=generator),
    }


def on_devices(devices):
    tensors = state()
    for index, (name, tensor) in enumerate(tensors.items()):
        if name not in {"host", "empty"}:
            devices[index % 2].own(tensor)
    return tensors


def test_a_file_from_devices_is_the_file_from_the_host(devices, small, tmp_path):
    """Cut into pieces and staged or not, the bytes and digests of the file are the same."""
    save_file(state(), tmp_path / "host")
    save_file(on_devices(devices), tmp_path / "device")
    assert (tmp_path / "device").read_bytes() == (tmp_path / "host").read_bytes()
    verify(tmp_path / "device")
    loaded = load_file(tmp_path / "device")
    assert torch.equal(loaded["large"], state()["large"])


def test_a_checkpoint_from_devices_is_unlocked_in_the_end(devices, small, tmp_path):
    """Each file's memory is locked once and unlocked, and never more of it than the budget."""
    sizes = []
    pin = type(devices[0]).pin

    def pin_and_tell(device, address, nbytes):
        sizes.append(nbytes)
        pin(device, address, nbytes)

    for device in devices:
        device.pin = pin_and_tell.__get__(device)
    save({"model": on_devices(devices), "other": {"w": devices[0].own(torch.ones(5))}}, tmp_path / "c")
    assert sorted(sizes) == [20, 3 * MIB]
    assert not devices[0].locked
    assert not devices[1].locked
    verify(tmp_path / "c")


def test_a_batch_waits_for_its_copies_and_no_longer_for_each(devices, small, tmp_path):
    """Copies of a batch are enqueued together; none is in flight while a batch is written."""
    log = devices[0].log
    tensor = devices[0].own(torch.arange(5 * MIB // 4, dtype=torch.float32))
    flat = TorchAdapter().flat(tensor)
    source = batches.DeviceBytes(TorchAdapter(), devices[0], flat)
    with contextlib.closing(batches.batches([Part("w", 5 * MIB, source)])) as made:
        seen = []
        for batch in made:
            assert devices[0].in_flight == 0
            seen.append([bytes(buffer) for buffer in batch.buffers])
            assert set(batch.names) == {"w"}
    assert b"".join(piece for pieces in seen for piece in pieces) == tensor.numpy().tobytes()
    assert [len(pieces) for pieces in seen] == [3, 2]
    copies = ["gpu0 copy"]
    assert log == [
        *("gpu0 pin", "gpu0 follow", *copies * 3, "gpu0 wait"),
        *("gpu0 follow", *copies * 2, "gpu0 wait", "gpu0 unpin"),
    ]


def test_what_was_made_is_let_go_before_more_is(small):
    """The one who writes still holds the batch while the next is made; its bytes must not add up."""
    made_ever: list[weakref.ref] = []
    most = 0

    class Bytes(bytearray):
        pass

    def make():
        nonlocal most
        made = Bytes(2 * MIB)
        made_ever.append(weakref.ref(made))
        most = max(most, sum(ref() is not None for ref in made_ever))
        return made

    for batch in batches.batches([Part(f"t{index}", 2 * MIB, make) for index in range(4)]):
        assert batch.made == 2 * MIB
    assert most == 1


def test_a_failing_device_leaves_nothing_behind(devices, small, tmp_path):
    """The older file is as it was, no copy is in flight, and nothing is locked."""
    save_file({"w": torch.ones(3)}, tmp_path / "f")
    tensors = on_devices(devices)
    devices[0].fails_at = 5
    with pytest.raises(RuntimeError, match="gpu0 broke") as kept:
        save_file(tensors, tmp_path / "f")
    assert kept.value is not None  # as long as it is kept, so are the frames that it left
    assert devices[0].in_flight == devices[1].in_flight == 0
    assert not devices[0].locked
    assert not devices[1].locked
    assert load_file(tmp_path / "f")["w"].tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["f"]


def test_a_failing_write_unlocks_at_once(devices, small, tmp_path, monkeypatch):
    """Not only when the error is forgotten, which may be kept for long."""

    def fail(*_arguments, **_options):
        raise StorageError("no")

    monkeypatch.setattr(batches._native, "write_segments", fail)
    with pytest.raises(StorageError) as kept:
        save_file(on_devices(devices), tmp_path / "f")
    assert kept.value is not None
    assert not devices[0].locked
    assert not devices[1].locked


def test_a_source_of_another_size_is_refused():
    """Nothing is written that is not what the header says."""
    with pytest.raises(ConfigurationError, match="the source of 'w' does not have its 5 bytes"):
        next(batches.batches([Part("w", 5, b"four")]))
