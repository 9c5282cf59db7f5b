"""`python -m model_checkpoint.cli`: the `mckpt` command without its launcher."""

from __future__ import annotations

import sys

from model_checkpoint.cli import main

if __name__ == "__main__":
    sys.exit(main())
