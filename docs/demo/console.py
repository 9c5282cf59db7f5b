"""What the demo's steps share: headings, the command line, and claims that must hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["claim", "mckpt", "say"]


def say(title: str) -> None:
    print(f"\n\033[1m== {title}\033[0m" if sys.stdout.isatty() else f"\n== {title}", flush=True)


def claim(holds: object, text: str) -> None:
    """End the demo unless what was said is so."""
    if not holds:
        raise SystemExit(f"this does not hold: {text}")


def mckpt(root: Path, *words: str) -> str:
    """Run the command line as a user would, show it, and return what it printed."""
    print(f"$ mckpt {' '.join(map(_quoted, words))}", flush=True)
    command = [sys.executable, "-m", "model_checkpoint.cli", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout.rstrip(), done.stderr.rstrip(), sep="\n" if done.stderr else "", flush=True)
    claim(done.returncode == 0, f"mckpt {words[0]} ended with {done.returncode}")
    return done.stdout


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(" ()|<>=") else word
