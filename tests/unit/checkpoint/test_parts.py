import copy
import random

import numpy as np
import pytest
import torch

from model_checkpoint.checkpoint.parts import Differences, capture_part, check_part, compare_part, restore_part
from model_checkpoint.errors import ConfigurationError


class Counter:
    """A part of one's own."""

    def __init__(self, count=0):
        self.count = count

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def differences(part, state):
    found = Differences()
    compare_part("part", part, state, found)
    restore_part("part", part, state, found)
    return found


def test_modules_and_other_stateful_parts_come_back():
    """What has the two methods is restored by them, without a difference."""
    for make in (lambda: torch.nn.Linear(2, 3), lambda: Counter(random.randrange(100))):
        source, target = make(), make()
        state = copy.deepcopy(capture_part(source))
        assert not differences(target, state)
        assert str(capture_part(target)) == str(state)


def test_a_module_takes_what_fits_and_the_rest_is_named():
    """Missing, unexpected and changed tensors are listed by path; the others are restored."""
    source = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))
    target = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 5))
    state = source.state_dict()
    del state["0.bias"]
    state["2.weight"] = torch.zeros(1)
    before = target[0].bias.clone()
    found = differences(target, state)
    assert found.missing == ["part.0.bias"]
    assert found.unexpected == ["part.2.weight"]
    assert found.changed == [
        "part.1.weight: 4x3 in the checkpoint, 5x3 here",
        "part.1.bias: 4 in the checkpoint, 5 here",
    ]
    assert torch.equal(target[0].weight, source[0].weight)
    assert torch.equal(target[0].bias, before)


def test_another_dtype_is_restored_and_named():
    """A cast is a change that the user hears of."""
    source, target = torch.nn.Linear(2, 1).to(torch.bfloat16), torch.nn.Linear(2, 1)
    found = differences(target, source.state_dict())
    assert found.changed[0] == "part.weight: bfloat16 in the checkpoint, float32 here"
    assert torch.equal(target.weight, source.weight.float())


def test_a_part_that_refuses_its_state_is_named():
    """An error of load_state_dict is a difference, with its text."""
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    state = torch.optim.SGD(weights[:1]).state_dict()
    found = Differences()
    assert not restore_part("optimizer", torch.optim.SGD(weights), state, found)
    assert found.changed[0].startswith("optimizer: refused (loaded state dict contains a parameter group")


@pytest.mark.parametrize(
    "make",
    [lambda: random.Random(3), lambda: np.random.default_rng(3), lambda: torch.Generator().manual_seed(3)],
    ids=["python", "numpy", "torch"],
)
def test_generators_repeat_themselves(make):
    """A generator of one's own draws the same numbers after it is restored."""

    def draw(source):
        return torch.rand(3, generator=source).tolist() if isinstance(source, torch.Generator) else source.random()

    source, other = make(), make()
    draw(source)
    state = copy.deepcopy(capture_part(source))
    assert not differences(other, state)
    assert draw(other) == draw(source)


def test_containers_are_changed_in_place():
    """A tracked dict or list, and the tensors in it, stay the objects that the loop holds."""
    weight, array, counter, history = torch.zeros(2), np.zeros(2), Counter(), [1]
    part = {"w": weight, "a": array, "c": counter, "epoch": 0, "history": history, "best": None}
    source = {"w": torch.ones(2), "a": np.ones(2), "c": Counter(9), "epoch": 4, "history": [1, 2], "best": 0.5}
    assert not differences(part, copy.deepcopy(capture_part(source)))
    assert part["w"] is weight
    assert part["history"] is history
    assert (weight.tolist(), array.tolist(), counter.count, history) == ([1, 1], [1, 1], 9, [1, 2])
    assert (part["epoch"], part["best"]) == (4, 0.5)


def test_an_empty_dict_takes_all_and_a_fuller_one_names_what_it_misses():
    """A dict grows by what the checkpoint has; keys that the checkpoint lacks are missing, and stay."""
    empty, fuller = {}, {"epoch": 1, "extra": 2}
    assert not differences(empty, {"epoch": 4})
    assert empty == {"epoch": 4}
    assert differences(fuller, {"epoch": 4}).missing == ["part.extra"]
    assert fuller == {"epoch": 4, "extra": 2}


def test_a_tensor_of_another_shape_is_left_alone():
    """Tensors and arrays are filled only by their like."""
    for part, state in ((torch.zeros(2), torch.ones(3)), (np.zeros(2), np.ones(3))):
        assert differences(part, state).changed == ["part: 3 in the checkpoint, 2 here"]
        assert part.tolist() == [0, 0]


def test_a_container_of_another_kind_is_named():
    """A dict is no list."""
    for part, state, words in (({"a": 1}, [2], "list in the checkpoint, a dict"), ([1], {"a": 2}, "a list here")):
        before = copy.copy(part)
        assert words in differences(part, state).changed[0]
        assert part == before


@pytest.mark.parametrize("value", [3, "text", (1, 2), None, object(), torch.nn.Linear])
def test_what_cannot_change_in_place_cannot_be_tracked(value):
    """Numbers, text, tuples and classes are refused by name."""
    with pytest.raises(ConfigurationError, match="cannot track epoch"):
        check_part("epoch", value)
