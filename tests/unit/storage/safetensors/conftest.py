"""What the tests of plain files share."""

from __future__ import annotations

import pytest


@pytest.fixture
def path(tmp_path):
    """Where to save a file."""
    return tmp_path / "file.safetensors"
