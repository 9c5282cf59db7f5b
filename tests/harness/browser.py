"""A real browser without a window: Debian's or the user's Chromium, led by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Containers have neither a sandbox to give, nor much shared memory.
_ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


class NoBrowserError(Exception):
    """There is none here; the message says what is missing."""


@contextmanager
def browser() -> Iterator[Any]:
    """A browser of Playwright's.

    Raises:
        NoBrowserError: Playwright or Chromium is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoBrowserError("needs a browser: pip install --group browser") from None
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=_chromium(), args=list(_ARGUMENTS))
        try:
            yield started
        finally:
            started.close()


def _chromium() -> str:
    """Where it is: as ``MCKPT_CHROMIUM`` says, else on the path."""
    found = os.environ.get("MCKPT_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise NoBrowserError("needs a browser: apt-get install chromium, or MCKPT_CHROMIUM=/path/to/chrome")
    return found
