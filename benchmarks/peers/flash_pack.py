"""flashpack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import Loader, Peer, Saver, State


class FlashPack(Peer):
    """Packs all tensors of a dtype into one block; on the CPU its tensors lie in a mapping until they are copied."""

    name = "flashpack"
    distribution = "flashpack"
    module = "flashpack"
    file_format = "flashpack"

    def savers(self) -> Sequence[Saver]:
        return (Saver("flashpack.pack_to_file", _save),)

    def loaders(self) -> Sequence[Loader]:
        return (
            Loader("flashpack + clone", lambda path: {name: tensor.clone() for name, tensor in _load(path).items()}),
            Loader("flashpack", _load, mapped=True),
        )


def _save(state: State, path: Path) -> None:
    from flashpack import pack_to_file

    pack_to_file(state, str(path), target_dtype=None)


def _load(path: Path) -> State:
    from flashpack.deserialization import revert_from_file

    loaded: State = revert_from_file(str(path))
    return loaded
