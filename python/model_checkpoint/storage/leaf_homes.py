"""In which component and under which name each tensor of a state is stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from model_checkpoint.storage.flattener import Leaf
from model_checkpoint.storage.safetensors.alias import Alias
from model_checkpoint.storage.safetensors.gather import Gathered, gather
from model_checkpoint.storage.safetensors.layout import TensorSpec
from model_checkpoint.storage.safetensors.names import METADATA_KEY

__all__ = ["assign_homes"]

_MAX_NAME_BYTES = 480
"""Room for ``~2`` and the like within the 512 bytes of a tensor's name."""


class Home(NamedTuple):
    """Where a leaf is stored."""

    component: str
    name: str

    @property
    def key(self) -> str:
        """One text for both; components have no slash."""
        return f"{self.component}/{self.name}"


class _Names:
    """Gives each tensor of a component a name of its own that the format allows."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}

    def free(self, component: str, wanted: str) -> Home:
        taken = self._taken.setdefault(component, {METADATA_KEY})
        base = wanted if wanted.isascii() and wanted.isprintable() else _cleaned(wanted)
        if len(base) > _MAX_NAME_BYTES // 4:
            base = base.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}~{number}"
        taken.add(name)
        return Home(component, name)


def _cleaned(name: str) -> str:
    """The name in NFC (two names may not differ only in normalisation), without control characters and surrogates."""
    return "".join(
        "_" if unicodedata.category(character) in ("Cc", "Cs") else character
        for character in unicodedata.normalize("NFC", name)
    )


def assign_homes(leaves: Sequence[Leaf]) -> dict[str, Gathered]:
    """Name all leaves, store each memory once, and tell every node where its tensor is."""
    names = _Names()
    homes = [names.free(leaf.component, leaf.name) for leaf in leaves]
    by_key = {home.key: home for home in homes}
    gathered = gather({home.key: leaf.stored.value for home, leaf in zip(homes, leaves, strict=True)})
    aliases: dict[str, dict[str, Alias]] = {}
    for home, leaf in zip(homes, leaves, strict=True):
        alias = gathered.aliases.get(home.key)
        found = home if alias is None else _alias(home, by_key[alias.of], alias, names, aliases)
        for node in leaf.nodes:
            node[f"${leaf.stored.kind}"] = [*found]
    return _split(gathered, by_key, aliases)


def _alias(home: Home, target: Home, alias: Alias, names: _Names, aliases: dict[str, dict[str, Alias]]) -> Home:
    """Record a further name in its target's component, and return where the leaf is found then."""
    if home.component != target.component:
        if alias.view is None:
            return target
        home = names.free(target.component, f"{home.component}.{home.name}")
    aliases.setdefault(target.component, {})[home.name] = Alias(target.name, alias.view)
    return home


def _split(
    gathered: Gathered, homes: Mapping[str, Home], aliases: Mapping[str, Mapping[str, Alias]]
) -> dict[str, Gathered]:
    """What was gathered as one, by component."""
    rows: dict[str, list[tuple[TensorSpec, Any, Any]]] = {}
    for spec, tensor, adapter in zip(gathered.specs, gathered.tensors, gathered.adapters, strict=True):
        component, name = homes[spec.name]
        rows.setdefault(component, []).append((TensorSpec(name, spec.dtype, spec.shape), tensor, adapter))
    return {
        component: Gathered(specs, aliases.get(component, {}), tensors, adapters)
        for component, (specs, tensors, adapters) in ((key, zip(*row, strict=True)) for key, row in rows.items())
    }
