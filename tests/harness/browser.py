"""A real browser without a window: Debian's or the user's Chromium, led by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Where it is: as ``MCKPT_CHROMIUM`` says, else on the path."""
    given = os.environ.get("MCKPT_CHROMIUM")
    return given or next((found for name in _NAMES if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; the test is skipped, saying what is missing, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install playwright")
    executable = find_chromium()
    if executable is None:
        pytest.skip("needs a browser: apt-get install chromium, or MCKPT_CHROMIUM=/path/to/chrome")
    # Containers have neither a sandbox of their own to give, nor much shared memory.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield started
        finally:
            started.close()
