"""What a scrub has come to."""

from __future__ import annotations

from dataclasses import dataclass

from model_checkpoint.storage.flaws import Flaw

__all__ = ["ScrubDamage", "ScrubReport"]


@dataclass(frozen=True, slots=True)
class ScrubDamage:
    """Something damaged, and what became of it.

    Attributes:
        ref: The checkpoint; its path in the store, where not even its manifest tells which it is.
        file: The file, relative to the checkpoint; empty if it is about the checkpoint as a whole.
        message: What is wrong.
        tensor: The tensor, if the damage is in one.
        chunk: The chunk's index in the tensor.
        offset: File offset of the damaged chunk, in bytes.
        nbytes: Size of the damaged chunk, in bytes.
        copy: The file that has a good copy; None if none was found.
        repaired: Whether it was repaired.
        problem: Why it was not; empty where it is that it has no good copy, or that nobody has asked for a repair.
    """

    ref: str
    file: str
    message: str
    tensor: str | None = None
    chunk: int | None = None
    offset: int | None = None
    nbytes: int | None = None
    copy: str | None = None
    repaired: bool = False
    problem: str = ""

    @classmethod
    def of(cls, ref: str, flaw: Flaw, *, copy: str | None, repaired: bool, problem: str) -> ScrubDamage:
        """What a flaw of a checkpoint has come to."""
        return cls(
            ref, flaw.file, flaw.message, flaw.tensor, flaw.chunk, flaw.offset, flaw.nbytes, copy, repaired, problem
        )

    def __str__(self) -> str:
        """``model.safetensors: tensor w, chunk 2, 1,048,576 bytes at 2101248: differs from its digest; repaired …``."""
        flaw = Flaw(self.file, self.message, self.tensor, self.chunk, self.offset, self.nbytes)
        return f"{flaw}; {self._fate()}"

    def _fate(self) -> str:
        if self.copy is None:
            return self.problem or "no good copy"
        if self.repaired:
            return f"repaired from {self.copy}"
        return f"good copy in {self.copy}" + (f", not repaired: {self.problem}" if self.problem else "")


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What was read, and what was found.

    Attributes:
        checked: How many checkpoints were read to the end.
        nbytes: How many bytes were read from the device to check them.
        seconds: Wall time in seconds.
        damaged: All damage, that repaired now included.
        skipped: Checkpoints that somebody has removed meanwhile.
        remaining: How many checkpoints were due and not reached; the next scrub begins with them.
    """

    checked: int
    nbytes: int
    seconds: float
    damaged: tuple[ScrubDamage, ...] = ()
    skipped: tuple[str, ...] = ()
    remaining: int = 0

    @property
    def repaired(self) -> tuple[ScrubDamage, ...]:
        """The damage that is no more."""
        return tuple(damage for damage in self.damaged if damage.repaired)

    @property
    def left(self) -> tuple[ScrubDamage, ...]:
        """The damage that is still there."""
        return tuple(damage for damage in self.damaged if not damage.repaired)
