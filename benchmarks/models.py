"""State dicts with the shapes of real models."""

from __future__ import annotations

import math

import torch


def llama_like(
    layers: int, width: int = 4096, hidden: int = 14336, kv: int = 1024, vocabulary: int = 32000
) -> dict[str, torch.Tensor]:
    """A Llama-3-8B-shaped state dict in bfloat16 with `layers` layers, random as trained weights are."""
    generator = torch.Generator().manual_seed(0)

    def weight(rows: int, columns: int) -> torch.Tensor:
        values = torch.empty(rows, columns, dtype=torch.bfloat16)
        return values.normal_(0, 1 / math.sqrt(columns), generator=generator)

    def norm() -> torch.Tensor:
        return torch.ones(width, dtype=torch.bfloat16)

    state = {"model.embed_tokens.weight": weight(vocabulary, width)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, rows, columns in (
            ("self_attn.q_proj", width, width),
            ("self_attn.k_proj", kv, width),
            ("self_attn.v_proj", kv, width),
            ("self_attn.o_proj", width, width),
            ("mlp.gate_proj", hidden, width),
            ("mlp.up_proj", hidden, width),
            ("mlp.down_proj", width, hidden),
        ):
            state[f"{prefix}{name}.weight"] = weight(rows, columns)
        state[f"{prefix}input_layernorm.weight"] = norm()
        state[f"{prefix}post_attention_layernorm.weight"] = norm()
    state["model.norm.weight"] = norm()
    state["lm_head.weight"] = weight(vocabulary, width)
    return state


def llama_of(nbytes: int) -> dict[str, torch.Tensor]:
    """A Llama-like state dict of about `nbytes` bytes."""
    fixed = 2 * (2 * 32000 * 4096)
    layer = 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336)
    if nbytes < fixed + layer:
        width = 1024
        return llama_like(max(1, nbytes // (2 * 1024 * 1024 * 10)), width, 2 * width, 256, 4096)
    return llama_like(max(1, round((nbytes - fixed) / layer)))


def size_of(state: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def many_small(count: int) -> dict[str, torch.Tensor]:
    """`count` tensors of 1 to 64 float32 values."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(1, 65, (count,), generator=generator).tolist()
    return {f"block.{i // 100}.part.{i}": torch.randn(size, generator=generator) for i, size in enumerate(sizes)}


def assert_equal(answer: object, expected: dict[str, torch.Tensor]) -> None:
    """Raise unless `answer` is a state dict with the same names and the same bits."""
    assert isinstance(answer, dict)
    if answer.keys() != expected.keys():
        raise AssertionError(f"names differ: {sorted(answer.keys() ^ expected.keys())[:5]}")
    for name, tensor in expected.items():
        if not torch.equal(answer[name].flatten().view(torch.uint8), tensor.flatten().view(torch.uint8)):
            raise AssertionError(f"{name} differs")
