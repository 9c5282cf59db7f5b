"""The pause of the garbage collector."""

from __future__ import annotations

import gc

import pytest

from model_checkpoint.utils.collector import collector_paused


def test_the_collector_is_off_inside_and_on_again_after():
    """Also when the block raises, and when blocks are nested."""
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="x"), collector_paused():
        raise ValueError("x")
    assert gc.isenabled()


def test_a_collector_that_the_user_switched_off_stays_off():
    """Programs that collect by hand keep doing so."""
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
