"""A nursery that kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.harness.nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process from which others are forked to be killed."""
    with Nursery() as nursery:
        reason = nursery.ask("tests.harness.strace", "unavailable")
        if reason is not None:
            pytest.skip(reason)
        yield nursery


@pytest.fixture(scope="session")
def ask(nursery: Nursery) -> Callable[..., Any]:
    """Asks for a function of `tests.harness.kills`."""
    nursery.ask("tests.harness.kills", "warm_up")
    return partial(nursery.ask, "tests.harness.kills")
