"""Slices: what they return, and that they read and check only the chunks that they touch."""

from __future__ import annotations

import threading

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from model_checkpoint import _native
from model_checkpoint.errors import ConfigurationError, CorruptionError
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.reader import open_file
from model_checkpoint.storage.safetensors.writer import save_file

MIB = 1024 * 1024


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def four_chunks(path):
    """A tensor of rows of 1 KiB in four chunks, the last one short, behind a neighbour; and the tensor's offset."""
    array = np.arange(3 * MIB // 2 + 2560, dtype=np.uint16).reshape(-1, 512)
    save_file({"rows": array, "neighbour": np.arange(512)}, path)
    return array, next(info.offset for info in inspect_file(path).tensors if info.name == "rows")


INDICES = [
    0,
    -1,
    slice(None),
    slice(2, 5),
    slice(None, None, 3),
    slice(5, 2),
    slice(-4, -1),
    (1, 2),
    (slice(1, 3), slice(2, 20, 7), 1),
    (..., 0),
    (0, ...),
    (slice(None), ..., slice(1)),
    (1, 2, 0),
    ...,
    (),
    (slice(100, 200),),
]


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_a_slice_is_what_indexing_the_tensor_gives(path, framework, index):
    """Integers, slices, steps and ellipses select what numpy selects."""
    array = np.arange(6 * 20 * 2, dtype=np.int32).reshape(6, 20, 2)
    save_file({"a": array}, path)
    with open_file(path, framework=framework) as file:
        part = file.get_slice("a")
        assert (part.get_shape(), part.get_dtype()) == ([6, 20, 2], "I32")
        value = part[index]
    assert tuple(value.shape) == array[index].shape
    assert value.tolist() == array[index].tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_any_slice_of_any_shape_is_right(tmp_path_factory, data):
    """Random shapes and indices agree with numpy, also where ranges cross chunks."""
    shape = data.draw(st.sampled_from([(7,), (3, 5), (2, 3, 4), (1, 6, 1, 2), (3, 700, 400), (1_100_000, 2)]))
    item = st.one_of(
        st.integers(-min(shape), min(shape) - 1),
        st.builds(
            slice,
            st.none() | st.integers(-9, 1_100_000),
            st.none() | st.integers(-9, 1_100_000),
            st.none() | st.integers(1, 4),
        ),
    )
    index = tuple(data.draw(st.lists(item, max_size=len(shape))))
    path = tmp_path_factory.getbasetemp() / f"slices-{'x'.join(map(str, shape))}"
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    if not path.exists():
        save_file({"a": array}, path, durable=False)
    with open_file(path, framework="numpy") as file:
        assert np.array_equal(file.get_slice("a")[index], array[index])


def test_a_slice_reads_only_the_chunks_that_it_touches(four_chunks, path):
    """Damage in an untouched chunk does not matter; in a touched one it names tensor and offset."""
    array, offset = four_chunks
    flip(path, offset + 2 * MIB + 5)
    with open_file(path) as file:
        rows = file.get_slice("rows")
        assert rows[:1024].tolist() == array[:1024].tolist()
        assert rows[3 * 1024 :].tolist() == array[3 * 1024 :].tolist()
        for index in (slice(2048, 2049), slice(0, 2049), slice(3071, 3073), (2500, 1), slice(None)):
            with pytest.raises(CorruptionError) as caught:
                rows[index]
            assert caught.value.tensor == "rows"
            assert caught.value.offset == offset + 2 * MIB
        assert file.get_tensor("neighbour").tolist() == list(range(512))
        with pytest.raises(CorruptionError):
            file.get_tensor("rows")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(0, 1024), [(0, MIB)]),
        (slice(0, 1), [(0, MIB)]),
        (slice(1, 1025), [(0, 2 * MIB)]),
        (slice(1, 3073), [(0, MIB), (MIB, 3 * MIB), (3 * MIB, 3 * MIB + 5120)]),
        (slice(1024, 3077), [(MIB, 3 * MIB + 5120)]),
        (slice(3072, 3073), [(3 * MIB, 3 * MIB + 5120)]),
    ],
    ids=str,
)
def test_whole_chunks_are_read_in_place_and_edges_aside(four_chunks, path, monkeypatch, rows, expected):
    """A range asks the core for exactly the chunks that it touches, in at most three pieces."""
    array, offset = four_chunks
    asked = []
    read_spans = _native.read_spans

    def spy(fd, name, offsets, lengths, *args, **kwargs):
        asked.extend((begin - offset, begin - offset + length) for begin, length in zip(offsets, lengths, strict=True))
        return read_spans(fd, name, offsets, lengths, *args, **kwargs)

    monkeypatch.setattr(_native, "read_spans", spy)
    with open_file(path) as file:
        value = file.get_slice("rows")[rows]
    assert np.array_equal(value.numpy(), array[rows])
    assert asked == expected
    assert value.untyped_storage().nbytes() == value.nbytes


@pytest.mark.parametrize("name", ["base", "view"])
@pytest.mark.parametrize("index", [slice(None, None, 3), (slice(1, 5), 2), (2, slice(1, 3)), ...], ids=str)
def test_a_slice_holds_no_more_memory_than_its_elements(path, name, index):
    """What was read between the elements, or around a view of another tensor, is let go."""
    base = torch.arange(60.0).reshape(6, 10)
    tensors = {"base": base, "view": base[:, ::3]}
    save_file(tensors, path)
    with open_file(path) as file:
        value = file.get_slice(name)[index]
    assert torch.equal(value, tensors[name][index])
    assert value.untyped_storage().nbytes() == value.nbytes


def test_without_verification_a_slice_reads_nothing_but_its_range(four_chunks, path):
    """With verify='none' a slice beside the damage in its own chunk comes back."""
    array, offset = four_chunks
    flip(path, offset)
    with open_file(path, verify="none") as file:
        assert file.get_slice("rows")[1:3].tolist() == array[1:3].tolist()
    with open_file(path, verify="fast") as file, pytest.raises(CorruptionError):
        file.get_slice("rows")[1:3]


def test_packed_elements_are_sliced_as_torch_counts_them(path):
    """Indices of a 4 bit tensor count pairs, as in torch."""
    tensor = torch.arange(24, dtype=torch.uint8).reshape(4, 6).view(torch.float4_e2m1fn_x2)
    save_file({"four": tensor}, path)
    with open_file(path) as file:
        assert file.get_slice("four").get_shape() == [4, 12]
        assert torch.equal(file.get_slice("four")[1:3].view(torch.uint8), tensor[1:3].view(torch.uint8))


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (6, IndexError),
        (-7, IndexError),
        ((0, 0, 0), IndexError),
        ((..., ...), IndexError),
        (slice(None, None, -1), ValueError),
        ("a", TypeError),
        (1.0, TypeError),
        (True, TypeError),
        (None, TypeError),
        ([0, 1], TypeError),
    ],
    ids=str,
)
def test_an_index_that_selects_nothing_raises_as_sequences_do(path, index, error):
    """Bad indices raise Python's own exceptions."""
    save_file({"a": np.zeros((6, 2))}, path)
    with open_file(path) as file, pytest.raises(error):
        file.get_slice("a")[index]


def test_many_threads_read_from_one_file(four_chunks, path):
    """Threads may read tensors and slices of one open file at once, while another one closes it."""
    array, _ = four_chunks
    wrong = []
    file = open_file(path, framework="numpy")
    part = file.get_slice("rows")
    started = threading.Barrier(9)

    def read(first):
        started.wait()
        starts = range(first, 3072, 97)
        wrong.extend(
            start for start in starts if not np.array_equal(part[start : start + 50], array[start : start + 50])
        )

    threads = [threading.Thread(target=read, args=(index * 11,)) for index in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    file.close()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_file_refuses_to_read(path):
    """After the with block the file says that it is closed; slices taken before still work."""
    save_file({"a": np.arange(3)}, path, metadata={"k": "v"})
    with open_file(path, framework="numpy") as file:
        assert file.metadata() == {"k": "v"}
        part = file.get_slice("a")
    for call in (file.keys, file.metadata, lambda: file.get_tensor("a"), lambda: file.get_slice("a")):
        with pytest.raises(ConfigurationError, match="closed"):
            call()
    assert part[1] == 1
