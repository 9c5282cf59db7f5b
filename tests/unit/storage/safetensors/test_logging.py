"""What the log says of a file's way."""

from __future__ import annotations

import logging

import torch

from model_checkpoint import load_file, save_file


def test_the_log_says_how_bytes_were_moved(tmp_path, caplog, monkeypatch):
    """At the level DEBUG, for each read and write, so that a slow one can be explained."""
    path = tmp_path / "model.safetensors"
    monkeypatch.setenv("MCKPT_IO", "buffered")
    with caplog.at_level(logging.DEBUG, logger="model_checkpoint"):
        save_file({"w": torch.zeros(5000)}, path)
        load_file(path)
    wrote, read = (record.getMessage() for record in caplog.records)
    assert wrote.endswith("wrote 20000 bytes through the page cache")
    assert read == f"{path}: read 0 bytes directly and 20000 through the page cache (check: sha256)"
