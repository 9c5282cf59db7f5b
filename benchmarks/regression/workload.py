"""A benchmark of the asv suite with its parameters; what asv follows over time, this check compares in one run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True, slots=True)
class Workload:
    """One benchmark.

    Attributes:
        benchmark: As asv names it: ``load.HotLoad.time_load_file``.
        parameters: One value for each of the benchmark's `param_names`; it need not be one that asv runs.
    """

    benchmark: str
    parameters: tuple[str | int, ...] = ()

    def prepare(self) -> Callable[[], object]:
        """Set it up in the working directory; the result does it once."""
        module, suite_name, method = self.benchmark.split(".")
        suite = getattr(importlib.import_module(f"benchmarks.asv.{module}"), suite_name)()
        if hasattr(suite, "setup_cache"):
            suite.setup_cache()
        suite.setup(*self.parameters)
        return partial(getattr(suite, method), *self.parameters)
