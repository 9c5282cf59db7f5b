"""What a release must reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: what was measured, against what, and the least (or most) that is acceptable.

    Attributes:
        possible: The highest value that the ceiling measured in the same run allows; None where it has none.
    """

    what: str
    value: float
    bound: float
    unit: str = "x"
    at_least: bool = True
    possible: float | None = None

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def out_of_reach(self) -> bool:
        """Whether the bound lies above what the machine itself can do."""
        return self.possible is not None and self.possible < self.bound

    @property
    def verdict(self) -> str:
        if self.met:
            return "ok"
        return "cannot" if self.out_of_reach else "MISS"

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        line = f"{self.verdict:6}  {self.what:58} {self.value:8.2f} {self.unit:4} {sign} {self.bound:g}"
        if self.out_of_reach:
            return f"{line}, which cannot be had here: the ceiling is {self.possible:.2f} {self.unit}"
        return f"{line}, the ceiling is {self.possible:.2f} {self.unit}" if self.possible is not None else line
