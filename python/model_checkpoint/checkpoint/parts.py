"""The parts of a training run: what may be tracked, and what a checkpoint takes of it.

A part is anything with ``state_dict`` and ``load_state_dict``, a tensor or array, a plain dict or list of such things
and of values, or a random generator. It must be possible to change it in place, because the training loop holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from model_checkpoint.checkpoint.rng import (
    capture_numpy_generator,
    capture_random,
    capture_rng,
    restore_numpy_generator,
    restore_random,
    restore_rng,
)
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.protocols import Stateful

__all__ = ["ProcessRandom", "as_part"]


def as_part(name: str, value: Any) -> Any:
    """What stands for a tracked value: itself, or, for a random generator, something with its state.

    Raises:
        ConfigurationError: The value cannot be changed in place.
    """
    for framework, kind, methods in _GENERATORS:
        module = sys.modules.get(framework)  # what is not loaded has no instances
        if module is not None and isinstance(value, attrgetter(kind)(module)):
            return _Generator(value, methods)
    if isinstance(value, type) or not (isinstance(value, Stateful | dict | list) or _is_tensor(value)):
        raise ConfigurationError(
            f"cannot track {name}, of type {type(value).__qualname__}: it has no state_dict() and load_state_dict(), "
            f"and is neither a tensor, an array, a random generator, a dict nor a list. Put plain values into a dict"
        )
    return value


class ProcessRandom:
    """The random state of the process, as a part.

    Attributes:
        problems: What the last `load_state_dict` could not restore, in words.
    """

    def __init__(self) -> None:
        self.problems: tuple[str, ...] = ()

    def state_dict(self) -> dict[str, Any]:
        return capture_rng()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.problems = restore_rng(state)


def _is_tensor(value: object) -> bool:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (torch is not None and isinstance(value, torch.Tensor)) or (
        numpy is not None and isinstance(value, numpy.ndarray)
    )


class _Methods(NamedTuple):
    capture: Callable[[Any], Any]
    restore: Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True)
class _Generator:
    """A random generator with the two methods that parts have."""

    generator: Any
    methods: _Methods

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.methods.capture(self.generator)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.methods.restore(self.generator, state["state"])


def _set_torch(generator: Any, state: Any) -> None:
    generator.set_state(state.cpu())


_GENERATORS = (
    ("random", "Random", _Methods(capture_random, restore_random)),
    ("torch", "Generator", _Methods(lambda generator: generator.get_state(), _set_torch)),
    ("numpy", "random.Generator", _Methods(capture_numpy_generator, restore_numpy_generator)),
)
