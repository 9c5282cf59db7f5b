from datetime import timedelta
from types import MappingProxyType

import pytest

from model_checkpoint.checkpoint.scrub_journal import Position, ScrubJournal, read_journal, write_journal
from tests.unit.checkpoint.conftest import EPOCH

ID, OTHER = "a" * 32, "b" * 32
FULL = ScrubJournal(
    MappingProxyType({OTHER: EPOCH + timedelta(microseconds=1)}),
    Position(ID, EPOCH, "model.safetensors", 12_345, sound=False),
)


@pytest.mark.parametrize("journal", [FULL, ScrubJournal()])
def test_a_journal_comes_back_as_it_was_written(tmp_path, journal):
    """Replacing what was there before."""
    write_journal(str(tmp_path), FULL)
    write_journal(str(tmp_path), journal)
    assert read_journal(str(tmp_path)) == journal


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"damaged":[],"position":null}',
        b'{"damaged":{"../x":"2026-01-01T00:00:00Z"},"position":null}',
        b'{"damaged":{},"position":{"id":"' + b"a" * 32 + b'"}}',
        b'{"damaged":{},"position":{"id":"' + b"a" * 32 + b'","began_at":"2026-01-01T00:00:00Z","file":"../../x",'
        b'"offset":0,"sound":true}}',
        b'{"damaged":{},"position":{"id":"' + b"a" * 32 + b'","began_at":"2026-01-01T00:00:00Z","file":"x",'
        b'"offset":-1,"sound":true}}',
    ],
)
def test_a_journal_that_cannot_be_read_is_an_empty_one(tmp_path, text):
    """It only saves work: what is wrong with it costs no more than that."""
    (tmp_path / ".scrub.json").write_bytes(text)
    assert read_journal(str(tmp_path)) == ScrubJournal()


def test_a_link_is_not_followed(tmp_path):
    """Nothing below the root is reached through a link."""
    write_journal(str(tmp_path), FULL)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".scrub.json").symlink_to("../.scrub.json")
    assert read_journal(str(tmp_path / "store")) == ScrubJournal()
