import random

import numpy as np
import pytest
import torch

from model_checkpoint.checkpoint.rng import capture_random, capture_rng, restore_random, restore_rng


def draw():
    """Some of every source, odd numbers of them so that buffered halves count."""
    return (
        [random.random(), random.gauss(0, 1), random.getrandbits(70)],
        np.random.rand(3).tolist() + np.random.randn(3).tolist(),  # noqa: NPY002 - the global state is what is tested
        torch.rand(3).tolist() + torch.randn(3).tolist(),
    )


@pytest.fixture(autouse=True)
def keep_random_state():
    """Other tests see the random state that they would have seen."""
    state = capture_rng()
    yield
    assert restore_rng(state) == ()


def test_the_same_numbers_come_again():
    """After restoring, every source repeats itself, buffered gaussians included."""
    draw()
    state = capture_rng()
    expected = draw()
    draw()
    assert restore_rng(state) == ()
    assert draw() == expected


def test_a_generator_of_ones_own_repeats_itself():
    """random.Random instances are captured as the global one is."""
    source = random.Random(5)
    source.gauss(0, 1)
    state = capture_random(source)
    expected = [source.random(), source.gauss(0, 1)]
    other = random.Random()
    restore_random(other, state)
    assert [other.random(), other.gauss(0, 1)] == expected


def test_what_is_missing_is_said():
    """A source without a state, an unknown one, and one that refuses are all named; the others are restored."""
    state = capture_rng()
    expected = draw()[0]
    del state["numpy"]
    state["torch"] = torch.zeros(3, dtype=torch.uint8)
    state["dice"] = 6
    problems = restore_rng(state)
    assert [problem.partition(":")[0] for problem in problems] == ["numpy", "torch", "dice"]
    assert draw()[0] == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_cuda_state_without_cuda_is_said():
    """A checkpoint from a GPU resumes on a CPU, and the report says what that costs."""
    state = capture_rng() | {"cuda": [torch.zeros(16, dtype=torch.uint8)]}
    assert restore_rng(state) == ("cuda: in the checkpoint, not in this process",)
