"""Two sides, measured in turn, and the bound on their ratio."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.regression.ratio import Ratio, median_ratio
from benchmarks.regression.side import Runner, Side

GENERATIONS = 2  # pairs of processes: where a process lies in memory is luck that lasts as long as it does
TURNS = range(5, 16)  # of each pair
SECONDS = 1.0  # of each pair, if that leaves enough turns
SAMPLE_SECONDS = 0.02  # what a turn takes of each side, at least


@dataclass(frozen=True, slots=True)
class Comparison:
    """A claim: `numerator` takes at most `at_most` times as long as `denominator`."""

    name: str
    numerator: Side
    denominator: Side
    at_most: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured of a comparison."""

    comparison: Comparison
    ratio: Ratio

    @property
    def failed(self) -> bool:
        return self.ratio.exceeds(self.comparison.at_most)


def judge(comparison: Comparison) -> Verdict:
    """Measure a comparison. A failure is measured again, by new processes, and stands only if it is found twice."""
    verdict = Verdict(comparison, median_ratio(measure(comparison)))
    if verdict.failed:
        return Verdict(comparison, median_ratio(measure(comparison)))
    return verdict


def measure(comparison: Comparison) -> list[float]:
    """The ratios of all turns of all generations."""
    ratios: list[float] = []
    for _ in range(GENERATIONS):
        with comparison.numerator.running() as numerator, comparison.denominator.running() as denominator:
            ratios += alternate(numerator, denominator)
    return ratios


def alternate(numerator: Runner, denominator: Runner) -> list[float]:
    """Ratios of neighbours in time: a machine that is slow for a second is slow for both."""
    numbers = calls_per_turn(numerator), calls_per_turn(denominator)
    ratios: list[float] = []
    start = time.perf_counter()
    while len(ratios) < TURNS.start or (len(ratios) < TURNS.stop - 1 and time.perf_counter() - start < SECONDS):
        if len(ratios) % 2:
            below = denominator.seconds(numbers[1])
            ratios.append(numerator.seconds(numbers[0]) / below)
        else:
            above = numerator.seconds(numbers[0])
            ratios.append(above / denominator.seconds(numbers[1]))
    return ratios


def calls_per_turn(runner: Runner) -> int:
    """How many calls make a turn that is long enough to be timed."""
    return max(1, round(SAMPLE_SECONDS / runner.seconds(1)))
