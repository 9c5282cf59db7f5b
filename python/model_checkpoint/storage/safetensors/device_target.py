"""Memory of a device as a place to load to."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DeviceTarget"]


class DeviceTarget(NamedTuple):
    """A CUDA device, as the core wants to know it.

    Attributes:
        ordinal: Which of the devices that CUDA sees.
        stream: The stream whose work may still use the memory that is loaded to, as the driver's handle.
    """

    ordinal: int
    stream: int
