import math

import numpy as np
import pytest
import torch

from model_checkpoint.checkpoint.metrics_log import MetricsLog, as_metrics
from model_checkpoint.errors import CatalogBusyError, CatalogError, ConfigurationError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_numbers_of_any_kind_are_metrics():
    """Python's, numpy's and torch's numbers become floats; NaN stays NaN."""
    metrics = as_metrics({"a": 1, "b": np.float32(0.5), "c": torch.tensor(2.0), "d": math.nan, "e": True})
    assert str(metrics) == "{'a': 1.0, 'b': 0.5, 'c': 2.0, 'd': nan, 'e': 1.0}"
    assert {type(value) for value in metrics.values()} == {float}


@pytest.mark.parametrize("values", [{"a": "x"}, {"a": None}, {"a": torch.zeros(2)}, {"": 1}, {1: 1}, {"a": 10**400}])
def test_what_is_no_number_is_refused(values):
    """A metric that is no number, and a name that is no text, are refused by name."""
    with pytest.raises(ConfigurationError, match="metric"):
        as_metrics(values)


def test_values_are_written_together():
    """Nothing is written until it is due; then all at once, in order."""
    written, clock = [], Clock()
    log = MetricsLog("exp", lambda points: written.append(list(points)), clock)
    for step in range(3):
        log.add(step, {"loss": step / 2, "acc": 1})
    assert written == []
    log.flush()
    log.flush()
    assert [[(p.experiment, p.name, p.step, p.value) for p in batch] for batch in written] == [
        [("exp", name, step, value) for step in range(3) for name, value in (("loss", step / 2), ("acc", 1.0))]
    ]


def test_old_values_and_many_values_are_due():
    """Ten seconds after the first value, or with the thousandth, all are written."""
    written, clock = [], Clock()
    log = MetricsLog("exp", lambda points: written.append(len(points)), clock)
    log.add(0, {"loss": 1})
    clock.now = 10.0
    log.add(1, {"loss": 1})
    assert written == [2]
    for step in range(1000):
        log.add(step, {"loss": 1})
    assert written == [2, 1000]


def test_a_busy_catalog_costs_no_value():
    """While the catalog is busy the values are kept; flush() says so, add() does not stop the training."""
    written, clock, busy = [], Clock(), [True]

    def write(points):
        if busy[0]:
            raise CatalogBusyError("locked")
        written.extend(points)

    log = MetricsLog("exp", write, clock)
    log.add(0, {"loss": 1})
    clock.now = 10.0
    log.add(1, {"loss": 1})
    with pytest.raises(CatalogError):
        log.flush()
    busy[0] = False
    log.flush()
    assert [point.step for point in written] == [0, 1]
