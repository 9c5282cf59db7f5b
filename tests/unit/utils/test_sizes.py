import pytest

from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_400_000_000, "1.4 GB"), (99_940_000, "99.9 MB"),
        (99_960_000, "100 MB"), (999_499_000, "999 MB"), (999_600_000, "1.0 GB"), (10**22, "10000 EB"),
        (-1500, "-1.5 kB"),
    ],
)  # fmt: skip
def test_sizes_read_well(nbytes, text):
    """Three digits at most, in the unit that fits."""
    assert format_size(nbytes) == text


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [(12, 12), ("12", 12), ("1.5 GB", 1_500_000_000), ("512MiB", 512 * 2**20), ("3 kb", 3000), ("1KiB", 1024)],
)
def test_sizes_are_understood(text, nbytes):
    """Counts, decimal and binary units."""
    assert parse_size(text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 XB", "1e3", "1 2"])
def test_other_text_is_no_size(text):
    """What is no size raises."""
    with pytest.raises(ConfigurationError, match="size"):
        parse_size(text)
