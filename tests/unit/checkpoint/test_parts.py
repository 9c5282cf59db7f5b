import random

import numpy as np
import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.checkpoint.parts import as_part
from model_checkpoint.errors import ConfigurationError


@pytest.mark.parametrize(
    "value",
    [torch.nn.Linear(1, 1), torch.zeros(1), np.zeros(1), {"a": 1}, [1], torch.nn.Parameter(torch.zeros(1))],
    ids=lambda value: type(value).__name__,
)
def test_what_can_change_in_place_stands_for_itself(value):
    """Modules, tensors, arrays and containers are parts as they are."""
    assert as_part("part", value) is value


@pytest.mark.parametrize(
    "make",
    [
        lambda: random.Random(3),
        lambda: np.random.default_rng(3),
        lambda: np.random.Generator(np.random.MT19937(3)),
        lambda: np.random.Generator(np.random.Philox(3)),
        lambda: torch.Generator().manual_seed(3),
    ],
    ids=["python", "pcg64", "mt19937", "philox", "torch"],
)
@pytest.mark.parametrize("backend", ["safetensors", "pytorch"])
def test_generators_repeat_themselves(make, backend, tmp_path):
    """A generator of one's own draws the same numbers after a resume, whatever the backend."""

    def draw(source):
        return torch.rand(3, generator=source).tolist() if isinstance(source, torch.Generator) else source.random()

    source, other = make(), make()
    draw(source)
    with mc.CheckpointManager(tmp_path / "runs", backend=backend) as ckpts:
        ckpts.track(source=source)
        ckpts.save(0)
    expected = draw(source)
    with mc.CheckpointManager(tmp_path / "runs", backend=backend) as ckpts:
        ckpts.track(source=other)
        ckpts.resume(strict=True)
    assert draw(other) == expected


@pytest.mark.parametrize("value", [3, "text", (1, 2), None, object(), torch.nn.Linear])
def test_what_cannot_change_in_place_cannot_be_tracked(value):
    """Numbers, text, tuples and classes are refused by name."""
    with pytest.raises(ConfigurationError, match="cannot track epoch"):
        as_part("epoch", value)


def test_containers_stay_the_objects_that_the_loop_holds(tmp_path):
    """A tracked dict or list, and the tensors and parts in it, are filled in place."""
    weight, array, history = torch.ones(2), np.ones(2), [1, 2]
    linear = torch.nn.Linear(1, 1)
    part = {"w": weight, "a": array, "m": linear, "epoch": 4, "history": history}
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        ckpts.track(part=part, plain=history)
        ckpts.save(0).result()
        expected = linear.weight.item()
        weight.zero_()
        array[:] = 0
        torch.nn.init.zeros_(linear.weight)
        part["epoch"] = 9
        history.append(3)
        assert ckpts.resume(strict=True).restored == ("part", "plain", "rng")
    assert part["w"] is weight
    assert part["m"] is linear
    assert part["history"] is history
    assert (weight.tolist(), array.tolist(), linear.weight.item()) == ([1, 1], [1, 1], expected)
    assert (part["epoch"], history) == (4, [1, 2])
