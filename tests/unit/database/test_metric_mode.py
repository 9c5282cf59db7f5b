"""What a metric's name tells of its direction."""

from __future__ import annotations

import pytest

from model_checkpoint.database.metric_mode import usual_mode


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("loss", "min"),
        ("val_loss", "min"),
        ("eval/RMSE", "min"),
        ("accuracy", "max"),
        ("top-5 accuracy", "max"),
        ("test.f1", "max"),
        ("glossary", None),
        ("custom", None),
        ("error_score", None),
        ("", None),
    ],
)
def test_names_tell_the_direction_or_nothing(metric, mode):
    """Known words decide, unknown and contradicting ones do not."""
    assert usual_mode(metric) == mode
