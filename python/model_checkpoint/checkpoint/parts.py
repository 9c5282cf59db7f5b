"""The parts of a training run: how the state of each is taken, and put back in place.

A part is anything with ``state_dict`` and ``load_state_dict``, a random generator, a tensor or array, or a plain dict
or list of such things, numbers and text. Putting back changes the part itself, because the training loop holds it.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from model_checkpoint.checkpoint.rng import capture_random, restore_random
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.protocols import Stateful

__all__ = ["Differences", "capture_part", "check_part", "compare_part", "restore_part"]


@dataclass(slots=True)
class Differences:
    """Where a run and a checkpoint do not fit together, by paths such as ``model.head.weight``.

    Attributes:
        missing: What the run has and the checkpoint lacks.
        unexpected: What the checkpoint has and the run lacks.
        changed: What both have, and how it differs.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.changed)


def check_part(name: str, part: object) -> None:
    """Return if a part could be restored.

    Raises:
        ConfigurationError: It is a value that cannot be changed in place.
    """
    if _handler_of(part) is None:
        raise ConfigurationError(
            f"cannot track {name}, of type {type(part).__qualname__}: it has no state_dict() and load_state_dict(), "
            f"and is neither a tensor, an array, a random generator, a dict nor a list. Put plain values into a dict"
        )


def capture_part(part: Any) -> Any:
    """The state of a part, as a checkpoint takes it. Tensors in it are the part's own."""
    handler = _handler_of(part)
    return handler.capture(part) if handler is not None else part


def compare_part(path: str, part: Any, state: Any, found: Differences) -> None:
    """Add the differences between a part and a state to ``found``, and change nothing."""
    handler = _handler_of(part)
    if handler is not None:
        handler.compare(path, part, state, found)


def restore_part(path: str, part: Any, state: Any, found: Differences) -> bool:
    """Put a state back into a part, as far as it fits; whether it went in.

    What does not fit is added to ``found``, unless `compare_part` finds it.
    """
    handler = _handler_of(part)
    if handler is None:
        return False
    try:
        handler.restore(path, part, state, found)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # Of the part's own code, which says so when a state is not for it.
        found.changed.append(f"{path}: refused ({error})")
        return False
    return True


# --- one handler for each kind of part --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handler:
    """How to treat one kind of part: take its state, compare it with one, put one back."""

    capture: Callable[[Any], Any]
    compare: Callable[[str, Any, Any, Differences], None]
    restore: Callable[[str, Any, Any, Differences], None]


def _handler_of(part: Any) -> _Handler | None:
    """The handler of a part; None for a value that only assignment can change."""
    for framework, kind, handler in _FOREIGN_KINDS:
        module = sys.modules.get(framework)  # what is not loaded has no instances
        if module is not None and isinstance(part, attrgetter(kind)(module)):
            return handler
    if isinstance(part, type):
        return None
    return next((handler for kind, handler in _KINDS if isinstance(part, kind)), None)


def _no_comparison(_path: str, _part: Any, _state: Any, _found: Differences) -> None:
    """Only the part itself knows what it takes; it says so in `restore_part`."""


def _compare_module(path: str, module: Any, state: Mapping[str, Any], found: Differences) -> None:
    here = module.state_dict()
    found.missing.extend(f"{path}.{name}" for name in sorted(here.keys() - state.keys()))
    found.unexpected.extend(f"{path}.{name}" for name in sorted(state.keys() - here.keys()))
    for name, value in here.items():
        if name in state:
            _compare_tensor(f"{path}.{name}", value, state[name], found)


def _restore_module(_path: str, module: Any, state: Mapping[str, Any], _found: Differences) -> None:
    here = module.state_dict()
    fitting = OrderedDict((name, value) for name, value in state.items() if _fits(here.get(name), value))
    if hasattr(state, "_metadata"):  # the modules' versions, by which torch converts old states
        fitting._metadata = state._metadata  # type: ignore[attr-defined]  # noqa: SLF001
    module.load_state_dict(fitting, strict=False)


def _fits(here: Any, value: Any) -> bool:
    return getattr(here, "shape", None) == getattr(value, "shape", None)


def _compare_tensor(path: str, here: Any, value: Any, found: Differences) -> None:
    for attribute in ("shape", "dtype"):
        ours, theirs = getattr(here, attribute, None), getattr(value, attribute, None)
        if ours != theirs:
            found.changed.append(f"{path}: {_text(theirs)} in the checkpoint, {_text(ours)} here")
            return


def _text(value: Any) -> str:
    return "x".join(map(str, value)) or "a scalar" if isinstance(value, tuple) else str(value).removeprefix("torch.")


def _restore_tensor(_path: str, tensor: Any, value: Any, _found: Differences) -> None:
    if _fits(tensor, value):
        tensor.detach().copy_(value)


def _restore_array(_path: str, array: Any, value: Any, _found: Differences) -> None:
    if _fits(array, value):
        array[...] = value


def _capture_list(items: list[Any]) -> Any:
    return [capture_part(item) for item in items]


def _capture_dict(items: MutableMapping[Any, Any]) -> Any:
    return {key: capture_part(item) for key, item in items.items()}


def _compare_dict(path: str, items: MutableMapping[Any, Any], state: Any, found: Differences) -> None:
    if not isinstance(state, Mapping):
        found.changed.append(f"{path}: {type(state).__name__} in the checkpoint, a dict here")
        return
    found.missing.extend(f"{path}.{key}" for key in items if key not in state)
    for key, item in items.items():
        if key in state:
            compare_part(f"{path}.{key}", item, state[key], found)


def _restore_dict(path: str, items: MutableMapping[Any, Any], state: Any, found: Differences) -> None:
    if not isinstance(state, Mapping):
        return
    for key, value in state.items():
        part = items.get(key)
        if key not in items or _handler_of(part) is None:
            items[key] = value
        else:
            restore_part(f"{path}.{key}", part, value, found)


def _compare_list(path: str, items: list[Any], state: Any, found: Differences) -> None:
    if not isinstance(state, list):
        found.changed.append(f"{path}: {type(state).__name__} in the checkpoint, a list here")
        return
    for index, (item, value) in enumerate(zip(items, state, strict=False)):
        compare_part(f"{path}.{index}", item, value, found)


def _restore_list(path: str, items: list[Any], state: Any, found: Differences) -> None:
    if not isinstance(state, list):
        return
    known = items[:]
    items[:] = state
    for index, (item, value) in enumerate(zip(known, state, strict=False)):
        if _handler_of(item) is not None:
            items[index] = item
            restore_part(f"{path}.{index}", item, value, found)


def _set_numpy_generator(_path: str, generator: Any, state: Any, _found: Differences) -> None:
    generator.bit_generator.state = state


def _state_dict(part: Any) -> Any:
    return part.state_dict()


def _load_state_dict(_path: str, part: Any, state: Any, _found: Differences) -> None:
    part.load_state_dict(state)


_FOREIGN_KINDS = (
    ("torch", "nn.Module", _Handler(_state_dict, _compare_module, _restore_module)),
    ("torch", "Tensor", _Handler(lambda part: part, _compare_tensor, _restore_tensor)),
    (
        "torch",
        "Generator",
        _Handler(lambda part: part.get_state(), _no_comparison, lambda _, part, state, __: part.set_state(state.cpu())),
    ),
    ("numpy", "ndarray", _Handler(lambda part: part, _compare_tensor, _restore_array)),
    (
        "numpy",
        "random.Generator",
        _Handler(lambda part: part.bit_generator.state, _no_comparison, _set_numpy_generator),
    ),
)
_KINDS: tuple[tuple[type, _Handler], ...] = (
    (Stateful, _Handler(_state_dict, _no_comparison, _load_state_dict)),
    (
        random.Random,
        _Handler(capture_random, _no_comparison, lambda _, part, state, __: restore_random(part, state)),
    ),
    (MutableMapping, _Handler(_capture_dict, _compare_dict, _restore_dict)),
    (list, _Handler(_capture_list, _compare_list, _restore_list)),
)
