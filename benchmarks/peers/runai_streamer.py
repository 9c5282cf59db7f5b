"""Run:ai model streamer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import Loader, Peer, State


class RunaiStreamer(Peer):
    """Reads with many threads into one buffer, of which its tensors are views."""

    name = "runai"
    distribution = "runai-model-streamer"
    module = "runai_model_streamer"
    file_format = "safetensors"

    def loaders(self) -> Sequence[Loader]:
        return (Loader("Run:ai model streamer", _load),)


def _load(path: Path) -> State:
    from runai_model_streamer import SafetensorsStreamer

    with SafetensorsStreamer() as streamer:
        streamer.stream_file(str(path))
        return dict(streamer.get_tensors())
