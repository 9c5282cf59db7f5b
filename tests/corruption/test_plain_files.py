"""Every change to the bytes of a plain file is found out, by the file alone."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from model_checkpoint.errors import CorruptionError, FormatError, IntegrityError
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from model_checkpoint.storage.safetensors.verify import find_damage, verify_file
from model_checkpoint.storage.safetensors.writer import save_file

pytestmark = pytest.mark.corruption

MIB = 1024 * 1024


def small_file(path):
    """A file with everything that a header can hold, and few bytes of data."""
    base = np.arange(6, dtype=np.int16).reshape(2, 3)
    tensors = {"base": base, "row": base[1], "tied": base, "e": np.zeros(0), "ü": np.ones(3, np.uint8)}
    save_file(tensors, path, metadata={"k": "v"}, durable=False)
    return path.read_bytes()


class Patched:
    """A file whose bytes are changed in place and put back."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        os.close(self._fd)

    def write(self, data, offset):
        assert os.pwrite(self._fd, data, offset) == len(data)


def test_every_flipped_bit_is_found(tmp_path, evidence):
    """Exhaustively: each bit of length, header, digests, padding and data; no other exception, never a tensor."""
    path = tmp_path / "file"
    original = small_file(path)
    assert len(original) == 4096 + 15
    missed = []
    with Patched(path) as file:
        for offset, byte in enumerate(original):
            for bit in range(8):
                file.write(bytes([byte ^ 1 << bit]), offset)
                try:
                    load_file(path, framework="numpy")
                except IntegrityError as error:
                    assert error.path == str(path)  # noqa: PT017 - counted, 32 888 times
                else:
                    missed.append((offset, bit))
            file.write(bytes([byte]), offset)
    assert missed == []
    assert path.read_bytes() == original
    evidence(
        threat="one flipped bit anywhere in a file: length, header, digests, padding, data",
        promise="Loading refuses it by an error of integrity that names the file.",
        trials=len(original) * 8,
        unit="bits",
        violations=len(missed),
        exhaustive=True,
    )


HEADER_READERS = {
    "verify='fast'": lambda path: load_file(path, framework="numpy", verify="fast"),
    "verify='none'": lambda path: load_file(path, framework="numpy", verify="none"),
    "verify='none', mmap": lambda path: load_file(path, framework="numpy", verify="none", mmap=True),
    "a slice": lambda path: open_file(path, verify="none").get_slice("ü")[0:1],
    "inspect": inspect_file,
}


@pytest.mark.parametrize("reader", HEADER_READERS)
def test_every_flipped_bit_of_the_header_is_found_at_every_level(tmp_path, reader, trials, evidence):
    """The header's digest is checked even where the data is not."""
    path = tmp_path / "file"
    original = small_file(path)
    bits = range(0, 4096 * 8, trials(ci=9, proof=1, full=1))
    missed = []
    with Patched(path) as file:
        for position in bits:
            offset, bit = divmod(position, 8)
            file.write(bytes([original[offset] ^ 1 << bit]), offset)
            try:
                HEADER_READERS[reader](path)
            except IntegrityError as error:
                assert error.path == str(path)  # noqa: PT017 - counted
            else:
                missed.append((offset, bit))
            file.write(original[offset : offset + 1], offset)
    assert missed == []
    evidence(
        threat="one flipped bit in a header, where data is not, or not fully, checked",
        promise="Reading refuses it by an error of integrity that names the file.",
        trials=len(bits),
        unit="bits",
        violations=len(missed),
        detail=reader,
        exhaustive=len(bits) == 4096 * 8,
    )


def test_flipped_data_is_found_by_the_checksum(tmp_path):
    """verify='fast' finds each flipped bit of the data too."""
    path = tmp_path / "file"
    original = small_file(path)
    with Patched(path) as file:
        for position in range(4096 * 8, len(original) * 8):
            offset, bit = divmod(position, 8)
            file.write(bytes([original[offset] ^ 1 << bit]), offset)
            with pytest.raises(CorruptionError):
                load_file(path, framework="numpy", verify="fast")
            file.write(original[offset : offset + 1], offset)


def test_every_truncation_is_refused(tmp_path, evidence):
    """At every length, with and without verification, and by every way of opening."""
    path = tmp_path / "file"
    original = small_file(path)
    for length in range(len(original) - 1, -1, -1):
        os.truncate(path, length)
        for read in (
            lambda: load_file(path, framework="numpy", verify="none"),
            lambda: load_file(path, framework="numpy", verify="none", mmap=True),
            lambda: inspect_file(path),
        ):
            with pytest.raises(IntegrityError) as caught:
                read()
            assert caught.value.rule in ("length", "coverage")
    evidence(
        threat="a small file cut at every length",
        promise="Every reader refuses it before it has read a tensor, even with verify='none'.",
        trials=3 * len(original),
        unit="reads",
        violations=0,
        exhaustive=True,
    )


@pytest.mark.parametrize("extra", [b"\0", b" ", b"\1" * 15, b"\0" * 4081, b"\0" * 4096, b"\0" * MIB])
def test_every_extension_is_refused(tmp_path, extra):
    """Bytes after the last tensor belong to nothing."""
    path = tmp_path / "file"
    small_file(path)
    with path.open("ab") as file:
        file.write(extra)
    with pytest.raises(FormatError) as caught:
        load_file(path, framework="numpy", verify="none")
    assert caught.value.rule == "coverage"


@pytest.fixture(scope="module")
def chunked(tmp_path_factory):
    """A file of two tensors of three chunks each, and its tensors' offsets."""
    path = tmp_path_factory.mktemp("chunked") / "file"
    rng = np.random.default_rng(5)
    save_file({name: rng.integers(0, 256, 2 * MIB + 4096, np.uint8) for name in "ab"}, path, durable=False)
    return path, {info.name: info.offset for info in inspect_file(path).tensors}


@pytest.fixture
def damaged(chunked, tmp_path):
    """A copy of it to damage."""
    path = tmp_path / "file"
    shutil.copyfile(chunked[0], path)
    return path, chunked[1]


def swap(data, one, other, size):
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


DAMAGES = {
    "zeroed page": lambda data, at: data.__setitem__(slice(at["b"] + 8192, at["b"] + 12288), bytes(4096)),
    "swapped sectors": lambda data, at: swap(data, at["b"] + 512, at["b"] + 1024, 512),
    "swapped leaves": lambda data, at: swap(data, at["b"], at["b"] + 65536, 65536),
    "duplicated sector": lambda data, at: data.__setitem__(
        slice(at["b"], at["b"] + 512), data[at["b"] + 512 : at["b"] + 1024]
    ),
    "sector of the other tensor": lambda data, at: data.__setitem__(
        slice(at["b"], at["b"] + 512), data[at["a"] : at["a"] + 512]
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("level", ["full", "fast"])
def test_misplaced_sectors_are_found_and_named(damaged, name, level):
    """What disks do to sectors is found, with tensor, file offset and path, owned or mapped."""
    path, offsets = damaged
    data = bytearray(path.read_bytes())
    DAMAGES[name](data, offsets)
    path.write_bytes(data)
    for mmap in (False, True):
        with pytest.raises(CorruptionError) as caught:
            load_file(path, verify=level, mmap=mmap)
        assert (caught.value.tensor, caught.value.offset, caught.value.path) == ("b", offsets["b"], str(path))
    assert [(damage.tensor, damage.chunk) for damage in find_damage(path)] == [("b", 0)]


def test_chunks_that_change_places_are_found(damaged):
    """A digest is bound to its place: whole chunks swapped within or between tensors do not pass."""
    path, offsets = damaged
    original = path.read_bytes()
    for one, other in ((offsets["a"], offsets["a"] + MIB), (offsets["a"], offsets["b"])):
        data = bytearray(original)
        swap(data, one, other, MIB)
        path.write_bytes(data)
        for level in ("full", "fast"):
            with pytest.raises(CorruptionError):
                verify_file(path, level=level)
        assert {damage.offset for damage in find_damage(path)} == {one, other}


@pytest.mark.parametrize("position", [0, 1, 65535, 65536, MIB - 1, MIB, 2 * MIB - 1, 2 * MIB, 2 * MIB + 4095])
def test_flips_at_the_edges_of_leaves_and_chunks_are_found_by_every_reader(damaged, position):
    """Owned, mapped, sliced and verified: each reader names the chunk, and returns nothing."""
    path, offsets = damaged
    with Patched(path) as file:
        data = path.read_bytes()
        file.write(bytes([data[offsets["a"] + position] ^ 0x10]), offsets["a"] + position)
    readers = [
        lambda: load_file(path),
        lambda: load_file(path, names=["a"], framework="numpy"),
        lambda: load_file(path, mmap=True),
        lambda: load_file(path, verify="fast", mmap=True),
        lambda: load_file(path, device="meta"),
        lambda: verify_file(path),
        lambda: open_file(path).get_slice("a")[position],
    ]
    for read in readers:
        with pytest.raises(CorruptionError) as caught:
            read()
        assert caught.value.tensor == "a"
        assert caught.value.offset == offsets["a"] + position // MIB * MIB
    assert load_file(path, names=["b"])["b"].numel() == 2 * MIB + 4096


def test_random_flips_in_the_data_are_found(damaged):
    """A thousand random bits, one at a time, by the reader of the chunk that has them."""
    path, offsets = damaged
    rng = np.random.default_rng(6)
    original = path.read_bytes()
    with Patched(path) as file, open_file(path) as opened:
        part = opened.get_slice("b")
        for position, bit in zip(
            rng.integers(0, 2 * MIB + 4096, 1000).tolist(), rng.integers(0, 8, 1000).tolist(), strict=True
        ):
            offset = offsets["b"] + position
            file.write(bytes([original[offset] ^ 1 << bit]), offset)
            with pytest.raises(CorruptionError):
                part[position]
            file.write(original[offset : offset + 1], offset)
    verify_file(path)


def test_a_file_that_shrinks_while_it_is_open_is_an_error(damaged):
    """A reader that meets the end too early says so, and returns nothing."""
    path, offsets = damaged
    with open_file(path) as file:
        os.truncate(path, offsets["b"] + MIB + 7)
        with pytest.raises(IntegrityError) as caught:
            file.get_tensor("b")
        assert caught.value.tensor == "b"
        assert file.get_tensor("a").numel() == 2 * MIB + 4096


def test_the_header_of_another_file_does_not_pass(damaged, tmp_path):
    """Header and data of two valid files of equal shape do not make a third."""
    path, _ = damaged
    other = tmp_path / "other"
    save_file({name: np.zeros(2 * MIB + 4096, np.uint8) for name in "ab"}, other, durable=False)
    path.write_bytes(other.read_bytes()[:4096] + path.read_bytes()[4096:])
    assert len(find_damage(path)) == 6
    with pytest.raises(CorruptionError):
        load_file(path)
