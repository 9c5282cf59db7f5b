"""The suite of airspeed velocity: `make asv`, and docs/how-to/benchmarks.md.

asv imports this directory alone, as a package named after it. The root of the repository, last on the path, lets the
suite import its parts, and what it shares with the other benchmarks, under their usual names.

Each class is one thing that is timed, each combination of its `params` runs in a process of its own, in an empty
directory or in the one that `setup_cache` has filled. asv calls `setup` before every sample.
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
