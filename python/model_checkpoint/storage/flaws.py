"""What is damaged in a checkpoint, named as narrowly as its digests allow."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Flaw"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something damaged.

    Attributes:
        file: The file, relative to the checkpoint; empty if it is about the checkpoint as a whole.
        message: What is wrong.
        tensor: The tensor, if the damage is in one.
        chunk: The chunk's index in the tensor.
        offset: File offset of the damaged chunk, in bytes.
        nbytes: Size of the damaged chunk, in bytes.
    """

    file: str
    message: str
    tensor: str | None = None
    chunk: int | None = None
    offset: int | None = None
    nbytes: int | None = None

    def __str__(self) -> str:
        """``model.safetensors: tensor fc1.weight, chunk 2, 1,048,576 bytes at 2101248: differs from its digest``."""
        parts = [
            f"tensor {self.tensor}" if self.tensor is not None else "",
            f"chunk {self.chunk}" if self.chunk is not None else "",
            f"{self.nbytes:,} bytes at {self.offset}" if self.nbytes is not None else "",
        ]
        place = ", ".join(part for part in parts if part)
        return ": ".join(part for part in (self.file, place, self.message) if part)
