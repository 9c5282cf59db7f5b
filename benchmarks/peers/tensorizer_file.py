"""CoreWeave's tensorizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.entrant import Guarantee
from benchmarks.peers.peer import Loader, Peer, Saver, State


class Tensorizer(Peer):
    """Stores SHA-256 and CRC-32 of each tensor; checks them if it is asked to."""

    name = "tensorizer"
    distribution = "tensorizer"
    module = "tensorizer"
    file_format = "tensors"

    def savers(self) -> Sequence[Saver]:
        return (Saver("tensorizer", _save, Guarantee("SHA-256, CRC-32")),)

    def loaders(self) -> Sequence[Loader]:
        return (
            Loader("tensorizer", lambda path: _load(path, verify_hash=False)),
            Loader(
                "tensorizer, verify_hash=True",
                lambda path: _load(path, verify_hash=True),
                Guarantee("SHA-256, CRC-32"),
            ),
        )


def _save(state: State, path: Path) -> None:
    from tensorizer import TensorSerializer

    serializer = TensorSerializer(str(path))
    serializer.write_state_dict(state)
    serializer.close()


def _load(path: Path, *, verify_hash: bool) -> State:
    from tensorizer import TensorDeserializer

    with TensorDeserializer(str(path), device="cpu", verify_hash=verify_hash) as tensors:
        return {name: tensors[name] for name in tensors.keys()}  # noqa: SIM118 - its iterator reads in another order
