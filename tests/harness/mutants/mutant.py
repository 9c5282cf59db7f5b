"""A fault of ours: a change of the package that breaks one promise, and who is expected to notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGE", "Mutant", "Simulation", "Test"]

PACKAGE = Path(__file__).parents[3] / "python" / "model_checkpoint"


@dataclass(frozen=True, slots=True)
class Test:
    """A test of the suite.

    Attributes:
        node: Its id for pytest.
    """

    __test__ = False  # it is none of pytest's own

    node: str

    def __str__(self) -> str:
        return self.node.removeprefix("tests/")


@dataclass(frozen=True, slots=True)
class Simulation:
    """Power cuts on a simulated disk in an operation.

    Attributes:
        operation: Its name; see `tests.harness.operations`.
        followed: Kills after which another operation goes on, before the power is cut.
    """

    operation: str
    followed: int = 0

    def __str__(self) -> str:
        return f"simulated power cuts in {self.operation}"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one file of the package.

    Attributes:
        name: What is wrong then.
        breaks: What may come of it.
        file: The file, relative to the package.
        old: A text that occurs exactly once in it.
        new: What stands there instead.
        killers: Who is expected to notice, quickest first.
    """

    name: str
    breaks: str
    file: str
    old: str
    new: str
    killers: tuple[Test | Simulation, ...]

    def applied(self, package: Path = PACKAGE) -> str:
        """The file with the change.

        Raises:
            ValueError: The old text does not occur exactly once: the mutant must follow the code.
        """
        text = (package / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"mutant {self.name!r}: its text occurs {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)
