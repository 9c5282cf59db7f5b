"""What is saved comes back, in every dtype, framework and way of loading."""

from __future__ import annotations

import math
import unicodedata

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors import safe_open

from model_checkpoint.errors import ConfigurationError, StateMismatchError, UnsupportedStateError
from model_checkpoint.storage.safetensors.dtypes import NUMPY_NAMES, TORCH_NAMES
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from model_checkpoint.storage.safetensors.writer import save_file

SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 4), (1, 1, 1, 1)]
reuse_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def bits_of(tensor):
    """The bytes of a tensor, so that NaN equals NaN and -0 differs from 0."""
    if isinstance(tensor, np.ndarray):
        return tensor.dtype, tensor.shape, np.ascontiguousarray(tensor).tobytes()
    flat = tensor.detach().contiguous().reshape(-1)
    data = bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""
    return tensor.dtype, tuple(tensor.shape), data


def random_tensor(name, shape):
    dtype = getattr(torch, TORCH_NAMES[name])
    if name == "F4" and not shape:
        shape = (1,)
    size = math.prod(shape) * dtype.itemsize
    raw = torch.randint(0, 2 if name == "BOOL" else 256, (size,), dtype=torch.uint8)
    return raw.view(dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)


@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
@pytest.mark.parametrize("name", TORCH_NAMES)
def test_torch_tensors_of_every_dtype_and_shape_come_back(path, name, mmap):
    """Dtype, shape and every bit survive, in one file with all shapes."""
    tensors = {f"t{index}": random_tensor(name, shape) for index, shape in enumerate(SHAPES)}
    save_file(tensors, path)
    loaded = load_file(path, mmap=mmap)
    assert {key: bits_of(value) for key, value in loaded.items()} == {k: bits_of(v) for k, v in tensors.items()}
    assert {info.dtype for info in inspect_file(path).tensors} == {name}


@pytest.mark.parametrize("name", TORCH_NAMES)
def test_the_safetensors_package_reads_what_torch_saved(path, name):
    """Another reader sees the same dtype, shape and bits."""
    tensors = {f"t{index}": random_tensor(name, shape) for index, shape in enumerate(SHAPES)}
    save_file(tensors, path)
    with safe_open(path, "pt") as file:
        assert file.keys() == sorted(tensors)
        for key, tensor in tensors.items():
            assert bits_of(file.get_tensor(key)) == bits_of(tensor)


@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
@pytest.mark.parametrize("name", NUMPY_NAMES)
def test_numpy_arrays_of_every_dtype_and_shape_come_back(path, name, mmap):
    """Dtype, shape and every bit survive, and the safetensors package agrees."""
    rng = np.random.default_rng(1)
    arrays = {f"t{i}": rng.integers(0, 2, shape).astype(NUMPY_NAMES[name]) for i, shape in enumerate(SHAPES)}
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    save_file(arrays, path)
    loaded = load_file(path, framework="numpy", mmap=mmap)
    assert {key: bits_of(value) for key, value in loaded.items()} == {k: bits_of(v) for k, v in arrays.items()}
    with safe_open(path, "np") as file:
        assert all(bits_of(file.get_tensor(key)) == bits_of(value) for key, value in arrays.items())


@reuse_path
@given(
    arrays=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter("__metadata__".__ne__),
        hnp.arrays(
            st.sampled_from([np.dtype(name) for name in NUMPY_NAMES.values()]),
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        ),
        max_size=5,
    ),
    metadata=st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=3),
)
def test_any_arrays_names_and_metadata_come_back(tmp_path, arrays, metadata):
    """Whatever can be saved is loaded again, in the same order, with its metadata."""
    path = tmp_path / "file"
    metadata = {k: v for k, v in metadata.items() if (k + v).isprintable() and not k.startswith("mckpt.")}
    if len({unicodedata.normalize("NFC", name) for name in arrays}) < len(arrays):
        with pytest.raises(UnsupportedStateError, match="rule name"):
            save_file(arrays, path)
        return
    save_file(arrays, path, metadata=metadata)
    loaded = load_file(path, framework="numpy")
    assert list(loaded) == list(arrays)
    assert [bits_of(value) for value in loaded.values()] == [bits_of(value) for value in arrays.values()]
    assert inspect_file(path).metadata == metadata


def test_tensors_come_back_in_the_order_in_which_they_were_saved(path):
    """The order of a state is kept, though the data lies in another one."""
    names = ["z", "a", "m", "b"]
    save_file({name: np.zeros(index + 1, np.uint8) for index, name in enumerate(names)}, path)
    assert list(load_file(path, framework="numpy")) == names


def test_torch_and_numpy_may_be_saved_together(path):
    """Each tensor is taken by its own framework."""
    save_file({"t": torch.ones(2, dtype=torch.bfloat16), "n": np.arange(3)}, path)
    loaded = load_file(path)
    assert loaded["t"].dtype is torch.bfloat16
    assert loaded["n"].tolist() == [0, 1, 2]


def test_tensors_that_are_not_contiguous_are_stored_as_they_read(path):
    """Transposed, strided, reversed, expanded and sliced tensors keep their elements."""
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "t": base.clone().t(),
        "step": base.clone()[::2, 1::3],
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "channels": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    reversed_array = np.arange(6).reshape(2, 3)[::-1, ::-1]
    save_file({**tensors, "reversed": reversed_array, "fortran": np.asfortranarray(np.arange(6).reshape(2, 3))}, path)
    loaded = load_file(path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert all(loaded[name].is_contiguous() for name in tensors)
    assert loaded["reversed"].tolist() == reversed_array.tolist()
    assert loaded["fortran"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_big_endian_arrays_are_stored_little_endian(path):
    """The values survive; the byte order is the format's."""
    save_file({"a": np.array([1, 256], ">i4"), "b": np.array(1.5, ">f8")}, path)
    loaded = load_file(path, framework="numpy")
    assert loaded["a"].tolist() == [1, 256]
    assert loaded["b"][()] == 1.5
    assert loaded["a"].dtype == np.dtype("<i4")


def test_conjugate_and_negative_views_are_stored_as_they_read(path):
    """Torch's lazy conjugation and negation are resolved, also beside the tensor they are views of."""
    base = torch.tensor([1 + 2j, 3 - 4j])
    tensors = {"base": base, "conj": base.conj(), "neg": base.conj().imag}
    save_file(tensors, path)
    loaded = load_file(path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_parameters_are_stored_detached_and_loaded_as_plain_tensors(path):
    """Saving a parameter leaves it alone; loading gives a tensor without gradient."""
    parameter = torch.nn.Parameter(torch.randn(3))
    save_file({"p": parameter}, path)
    loaded = load_file(path)["p"]
    assert type(loaded) is torch.Tensor
    assert not loaded.requires_grad
    assert torch.equal(loaded, parameter)


def test_loaded_tensors_own_writable_memory(path):
    """A loaded tensor can be trained: written, required to have a gradient, resized."""
    save_file({"a": torch.zeros(3), "b": torch.ones(2)}, path)
    loaded = load_file(path)
    loaded["a"].add_(1)
    loaded["a"].requires_grad_()
    assert loaded["a"].untyped_storage().nbytes() == 12
    assert loaded["b"].tolist() == [1, 1]
    array = load_file(path, framework="numpy")["a"]
    array += 1
    assert array.tolist() == [1, 1, 1]


def test_only_the_named_tensors_are_loaded(path):
    """A subset comes in the order of the request, and a name that is asked for twice once."""
    save_file({name: torch.full((2,), float(index)) for index, name in enumerate("abc")}, path)
    assert list(load_file(path, names=["c", "a", "c"])) == ["c", "a"]
    assert load_file(path, names="b")["b"].tolist() == [1, 1]
    assert load_file(path, names=[]) == {}


def test_a_name_that_the_file_lacks_is_named(path):
    """Asking for an unknown tensor says which one."""
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(StateMismatchError, match="'nope'") as caught:
        load_file(path, names=["a", "nope"])
    assert caught.value.missing == ("nope",)
    with open_file(path) as file, pytest.raises(StateMismatchError):
        file.get_tensor("nope")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, dtype=torch.complex128),
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)[0],
        np.zeros(2, "datetime64[s]"),
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, np.complex128),
        np.zeros(2, np.longdouble),
        np.ma.masked_array([1, 2], [True, False]),
        [1, 2],
        1.0,
        None,
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}-{getattr(value, 'layout', '')}",
)
def test_what_cannot_be_stored_is_refused_by_name(path, value):
    """Dtypes without a place, tensors without bytes and other objects raise, and leave no file."""
    with pytest.raises(UnsupportedStateError) as caught:
        save_file({"good": np.zeros(1), "layer.bad": value}, path)
    assert caught.value.where == "layer.bad"
    assert list(path.parent.iterdir()) == []


class Wrapper(torch.Tensor):
    """A tensor that holds another one, as distributed and quantised tensors do."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError(str(func))


class Plain(torch.Tensor):
    """A tensor of its own kind with memory of its own."""


def test_tensor_subclasses_without_memory_are_refused(path):
    """Fake tensors and wrappers have no bytes to store; other subclasses are stored as tensors."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.zeros(2)
    for name, tensor in {"fake": fake, "wrapper": Wrapper(torch.zeros(2))}.items():
        with pytest.raises(UnsupportedStateError, match="memory") as caught:
            save_file({name: tensor}, path)
        assert caught.value.where == name
    save_file({"plain": torch.ones(2).as_subclass(Plain)}, path)
    assert load_file(path)["plain"].tolist() == [1, 1]


def test_numpy_names_the_remedy_for_a_dtype_that_it_lacks(path):
    """BF16 asked of numpy says what to install or to do instead, and which tensor it is."""
    pytest.importorskip("torch")
    save_file({"w": torch.ones(2, dtype=torch.bfloat16)}, path)
    try:
        import ml_dtypes
    except ImportError:
        with pytest.raises(UnsupportedStateError, match=r"ml_dtypes.*torch.*'w'"):
            load_file(path, framework="numpy")
    else:
        assert load_file(path, framework="numpy")["w"].dtype == ml_dtypes.bfloat16


def test_dtypes_that_no_framework_has_are_refused_by_name(path):
    """A valid F6 file is inspected, and loading it says why that cannot be."""
    from model_checkpoint.storage.safetensors.layout import TensorSpec
    from model_checkpoint.storage.safetensors.writer import write_file

    write_file(path, [TensorSpec("six", "F6_E2M3", (4,))], [b"abc"])
    assert inspect_file(path).tensors[0].nbytes == 3
    for framework in ("torch", "numpy"):
        with pytest.raises(UnsupportedStateError, match="F6_E2M3") as caught:
            load_file(path, framework=framework)
        assert caught.value.where == "six"


def test_arguments_that_make_no_sense_are_refused(path):
    """Unknown frameworks and levels, and devices for numpy, raise before anything is read."""
    save_file({"a": np.zeros(1)}, path)
    for arguments in ({"framework": "jax"}, {"verify": "most"}, {"framework": "numpy", "device": "cuda"}):
        with pytest.raises(ConfigurationError):
            load_file(path, **arguments)


def test_tensors_move_to_the_device_that_is_asked_for(path):
    """Any device of torch will do; aliases still share memory there."""
    tensor = torch.arange(6.0).reshape(2, 3)
    save_file({"a": tensor, "tied": tensor, "row": tensor[1]}, path)
    for mmap in (False, True):
        loaded = load_file(path, device="meta", mmap=mmap)
        assert loaded["a"].device.type == "meta"
        assert loaded["a"] is loaded["tied"]
        assert loaded["row"].untyped_storage()._cdata == loaded["a"].untyped_storage()._cdata
    assert load_file(path, device=torch.device("cpu"))["row"].tolist() == [3, 4, 5]


def test_loading_under_another_default_device_still_gives_host_memory(path):
    """A default device of torch does not reach into the loader."""
    save_file({"a": torch.arange(3.0)}, path)
    with torch.device("meta"):
        assert load_file(path)["a"].tolist() == [0, 1, 2]
        save_file({"a": torch.arange(3.0, device="cpu")}, path)
