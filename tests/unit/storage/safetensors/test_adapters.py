"""What each framework's adapter promises to the rest, on tensors of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_checkpoint.errors import ConfigurationError, UnsupportedStateError
from model_checkpoint.storage.safetensors.alias import View
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.tensors import adapter_named, framework_of

MAKERS = {"torch": torch.arange, "numpy": np.arange}


@pytest.fixture(params=MAKERS)
def framework(request):
    """The name of a framework."""
    return request.param


@pytest.fixture
def twenty(framework):
    """The integers below twenty in the middle of a larger memory, 4 by 5."""
    return MAKERS[framework](30)[7:27].reshape(4, 5)


def test_the_framework_of_a_value_is_told_without_a_guess(framework, twenty):
    """Tensors have one; other values are refused by name."""
    assert framework_of("x", twenty) == framework
    with pytest.raises(UnsupportedStateError) as caught:
        framework_of("layer.x", [1, 2])
    assert caught.value.where == "layer.x"
    with pytest.raises(ConfigurationError, match="jax"):
        adapter_named("jax")


def test_the_bytes_of_a_plain_tensor_are_its_own(framework, twenty):
    """A contiguous tensor gives its memory, wherever it begins; another one gives a copy in C order."""
    adapter = adapter_named(framework)
    assert adapter.describe("x", twenty) == TensorSpec("x", "I64", (4, 5))
    assert adapter.is_plain(twenty)
    assert np.frombuffer(adapter.buffer(twenty), np.int64).tolist() == list(range(7, 27))
    memoryview(adapter.buffer(twenty))[0] = 99
    assert int(twenty[0, 0]) == 99
    turned = twenty.T
    assert not adapter.is_plain(turned)
    assert np.frombuffer(adapter.buffer(turned), np.int64).reshape(5, 4).tolist() == turned.tolist()
    dest = bytearray(160)
    adapter.copy_out(turned, memoryview(dest))
    assert dest == bytes(adapter.buffer(turned))


def test_a_view_is_counted_from_the_tensor(framework, twenty):
    """Also where the tensor does not begin its memory."""
    view = adapter_named(framework).strided(twenty, View((2, 2), (5, 2), 6))
    assert view.tolist() == [[13, 15], [18, 20]]
    view[0, 0] = -1
    assert int(twenty[1, 1]) == -1


def test_a_region_is_where_the_elements_are(framework, twenty):
    """Regions give addresses of elements; parts of one tensor lie inside of it."""
    adapter = adapter_named(framework)

    def region(tensor):
        return adapter.region(tensor, adapter.describe("x", tensor))

    whole, part = region(twenty), region(twenty[1:3, ::2])
    assert (whole.end - whole.start, whole.contiguous, part.contiguous) == (160, True, False)
    assert (part.start - whole.start, part.end - part.start) == (40, 80)
    assert part.strides == (40, 16)
    assert region(twenty[:0]) is None


def test_new_tensors_are_filled_through_their_memory(framework):
    """allocate gives a tensor and the memory behind it, also for scalars."""
    adapter = adapter_named(framework)
    for shape in ((), (2, 3), (0,)):
        tensor, memory = adapter.allocate(TensorSpec("x", "I16", shape))
        view = memoryview(memory)
        view[:] = b"\1" * len(view)
        assert tuple(tensor.shape) == shape
        assert (tensor == 257).all()
