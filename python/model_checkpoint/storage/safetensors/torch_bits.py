"""Torch tensors as bits that torch can copy. Imported only where torch is in use."""

from __future__ import annotations

import torch

__all__ = ["bits_of"]

_PAIRS: torch.dtype | None = getattr(torch, "float4_e2m1fn_x2", None)


def bits_of(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with a dtype that torch can copy: it knows packed pairs, and has no kernels for them."""
    return tensor.view(torch.uint8) if tensor.dtype is _PAIRS else tensor
