"""A catalog in a directory of its own."""

from __future__ import annotations

import pytest

from model_checkpoint.database import Catalog
from tests.unit.database.samples import make_experiment


@pytest.fixture
def catalog(tmp_path):
    with Catalog.open(tmp_path) as opened:
        opened.add_experiment(make_experiment(monitor="loss", mode="min"))
        yield opened
