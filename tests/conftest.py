"""What all tests share."""

from __future__ import annotations

import os

import hypothesis

# No deadline: machines are noisy, and speed is the business of benchmarks/. CI tries the same examples every time.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
