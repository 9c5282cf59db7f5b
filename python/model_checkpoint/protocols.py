"""What this package asks of objects that it does not own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

__all__ = ["Stateful"]


@runtime_checkable
class Stateful(Protocol):
    """Models, optimizers, schedulers, scalers and data loaders, as PyTorch spells them."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state, as a tree of containers, numbers, strings and tensors."""

    def load_state_dict(self, state_dict: Any, /) -> object:
        """Take over a state."""
