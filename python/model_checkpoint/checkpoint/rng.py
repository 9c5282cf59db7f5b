"""The random state of a process: that of ``random``, numpy's global one, torch's, and CUDA's where it is in use.

A captured state is a tree that a checkpoint of any backend can hold: integers of generators are packed into bytes,
little-endian. Nothing is imported or initialized for its sake: what the program has not loaded has no state to lose.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = [
    "capture_numpy_generator",
    "capture_random",
    "capture_rng",
    "restore_numpy_generator",
    "restore_random",
    "restore_rng",
]


def capture_rng() -> dict[str, Any]:
    """The present state of each source that is there."""
    return {name: source.capture() for name, source in _SOURCES.items() if source.is_there()}


def restore_rng(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Put a captured state back.

    Returns:
        What could not be restored, in words: a source that the state lacks, that is not here, or that refused.
    """
    problems = [f"{name}: not in the checkpoint" for name, source in _SOURCES.items()
                if source.is_there() and name not in state]  # fmt: skip
    for name, value in state.items():
        problem = _restore(name, value)
        if problem is not None:
            problems.append(f"{name}: {problem}")
    return tuple(problems)


def capture_random(source: random.Random) -> dict[str, Any]:
    """The state of a Mersenne Twister of the standard library: 625 integers, and perhaps a gaussian in reserve."""
    version, words, gauss = source.getstate()
    return {"version": version, "words": struct.pack(f"<{len(words)}I", *words), "gauss": gauss}


def restore_random(source: random.Random, state: Mapping[str, Any]) -> None:
    """Put back what `capture_random` took.

    Raises:
        ValueError, TypeError, KeyError: The state is none of ``random``'s.
    """
    packed = state["words"]
    source.setstate((state["version"], struct.unpack(f"<{len(packed) // 4}I", packed), state["gauss"]))


def capture_numpy_generator(generator: Any) -> Any:
    """The state of a ``numpy.random.Generator``, of whatever kind."""
    return _packed(generator.bit_generator.state)


def restore_numpy_generator(generator: Any, state: Any) -> None:
    """Put back what `capture_numpy_generator` took.

    Raises:
        ValueError, TypeError, KeyError: The state is that of another kind of generator.
    """
    generator.bit_generator.state = _unpacked(state)


_WORDS = {"uint32": "uint32", "uint64": "uint64"}
"""What numpy's generators count in; a file names no other dtype."""


class _Source(NamedTuple):
    is_there: Callable[[], bool]
    capture: Callable[[], Any]
    restore: Callable[[Any], None]


def _restore(name: str, state: Any) -> str | None:
    source = _SOURCES.get(name)
    if source is None:
        return "unknown to this version"
    if not source.is_there():
        return "in the checkpoint, not in this process"
    try:
        source.restore(state)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, struct.error) as error:
        return f"refused ({error})"
    return None


def _global_random() -> random.Random:
    """The instance behind ``random.random()``; the module offers its methods, so one of them leads to it."""
    instance: random.Random = random.getstate.__self__  # type: ignore[attr-defined]
    return instance


def _capture_numpy() -> Any:
    import numpy as np

    return _packed(np.random.get_state(legacy=False))  # noqa: NPY002 - the global state is what is meant


def _restore_numpy(state: Any) -> None:
    import numpy as np

    np.random.set_state(_unpacked(state))  # noqa: NPY002


def _packed(state: Any) -> Any:
    """A state of numpy's with bytes for its arrays."""
    if isinstance(state, Mapping):
        return {key: _packed(value) for key, value in state.items()}
    if hasattr(state, "tobytes"):
        little = state.astype(state.dtype.newbyteorder("<"))
        return {"dtype": state.dtype.name, "data": little.tobytes()}
    return state


def _unpacked(state: Any) -> Any:
    import numpy as np

    if not isinstance(state, Mapping):
        return state
    if state.keys() == {"dtype", "data"}:
        native = np.dtype(_WORDS[state["dtype"]])
        return np.frombuffer(state["data"], native.newbyteorder("<")).astype(native)
    return {key: _unpacked(value) for key, value in state.items()}


def _capture_torch() -> Any:
    import torch

    return torch.get_rng_state()


def _restore_torch(state: Any) -> None:
    import torch

    torch.set_rng_state(state.cpu())


def _uses_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def _capture_cuda() -> Any:
    import torch

    return torch.cuda.get_rng_state_all()


def _restore_cuda(states: Any) -> None:
    import torch

    if len(states) != torch.cuda.device_count():
        raise ValueError(f"saved on {len(states)} devices, here are {torch.cuda.device_count()}")
    torch.cuda.set_rng_state_all([state.cpu() for state in states])


_SOURCES = {
    "python": _Source(
        lambda: True, lambda: capture_random(_global_random()), lambda state: restore_random(_global_random(), state)
    ),
    "numpy": _Source(lambda: "numpy" in sys.modules, _capture_numpy, _restore_numpy),
    "torch": _Source(lambda: "torch" in sys.modules, _capture_torch, _restore_torch),
    "cuda": _Source(_uses_cuda, _capture_cuda, _restore_cuda),
}
