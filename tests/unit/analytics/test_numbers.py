import math

import numpy as np
import pytest
import torch

from model_checkpoint.analytics.numbers import as_metrics
from model_checkpoint.errors import ConfigurationError


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
