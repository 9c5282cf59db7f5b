from __future__ import annotations

import pytest

from model_checkpoint.errors import FormatError
from model_checkpoint.utils import strict_json


@pytest.mark.parametrize(
    "value", [None, True, 1, -(2**70), 1.0, 1e300, -0.0, "é\U0001f600\n", [1, [2]], {"b": 1, "a": {}}]
)
def test_values_come_back_from_their_text(value):
    """What is written is read, floats as floats."""
    back = strict_json.parse(strict_json.dump(value).encode("ascii"), path="x")
    assert repr(back) == repr(value)


def test_text_is_compact_and_can_be_sorted():
    """One spelling for one value."""
    assert strict_json.dump({"b": [1, 2.0], "a": "é"}, sort_keys=True) == '{"a":"\\u00e9","b":[1,2.0]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.dump(float("nan"))


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"\xff", "utf8"),
        (b'"\\ud800"', "utf8"),
        (b'{"\\udfff": 1}', "utf8"),
        (b"\xef\xbb\xbf{}", "json"),
        (b"", "json"),
        (b"{} {}", "json"),
        (b'{"a":1,"a":1}', "json"),
        (b"NaN", "json"),
        (b"-Infinity", "json"),
        (b"[1,]", "json"),
        (b"01", "json"),
        (b'"\x00"', "json"),
        (b"1" * 5000, "json"),
        (b"[" * 200_000, "json"),
    ],
    ids=range(14),
)
def test_anything_doubtful_is_refused_by_rule(raw, rule):
    """Two readers must never see two values."""
    with pytest.raises(FormatError) as error:
        strict_json.parse(raw, path="dir/x.json")
    assert (error.value.rule, error.value.path) == (rule, "dir/x.json")


def test_escaped_pairs_are_one_character():
    """Half of a pair is refused, both halves are not."""
    assert strict_json.parse(b'"\\ud83d\\ude00"', path="x") == "\U0001f600"
