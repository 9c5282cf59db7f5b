"""What a scrub has come to."""

from __future__ import annotations

from dataclasses import dataclass, fields

from model_checkpoint.storage.flaws import Flaw

__all__ = ["ScrubDamage", "ScrubReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubDamage(Flaw):
    """Something damaged, and what became of it.

    Attributes:
        ref: The checkpoint; its path in the store, where not even its manifest tells which it is; the experiment, where
            it is a segment of metrics that is damaged (``file``, relative to the store).
        copy: The file that has a good copy; None if none was found.
        repaired: Whether it was repaired.
        problem: Why it was not; empty where it is that it has no good copy, or that nobody has asked for a repair.
    """

    ref: str
    copy: str | None = None
    repaired: bool = False
    problem: str = ""

    @classmethod
    def of(cls, ref: str, flaw: Flaw, *, copy: str | None, repaired: bool, problem: str) -> ScrubDamage:
        """What a flaw of a checkpoint has come to."""
        known = {field.name: getattr(flaw, field.name) for field in fields(Flaw)}
        return cls(**known, ref=ref, copy=copy, repaired=repaired, problem=problem)

    def __str__(self) -> str:
        """``model.safetensors: tensor w, chunk 2, 1,048,576 bytes at 2101248: differs from its digest; repaired …``."""
        return f"{Flaw.__str__(self)}; {self._fate()}"

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
        segments: How many segments of metrics were read to the end.
    """

    checked: int
    nbytes: int
    seconds: float
    damaged: tuple[ScrubDamage, ...] = ()
    skipped: tuple[str, ...] = ()
    remaining: int = 0
    segments: int = 0

    @property
    def repaired(self) -> tuple[ScrubDamage, ...]:
        """The damage that is no more."""
        return tuple(damage for damage in self.damaged if damage.repaired)

    @property
    def left(self) -> tuple[ScrubDamage, ...]:
        """The damage that is still there."""
        return tuple(damage for damage in self.damaged if not damage.repaired)
