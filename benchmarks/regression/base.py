"""Which commit to compare with."""

from __future__ import annotations

import subprocess

from benchmarks.regression.build import ROOT, SOURCES


def choose_base(commit: str | None = None) -> str | None:
    """The commit in full: the one that is asked for, else the last one that is surely not what is being checked.

    That is where the branch left ``origin/main``; on the main branch itself the commit before, or the last one where
    the tree has changes on top of it. None where there is none, as in a shallow clone.

    Raises:
        ValueError: There is no such commit.
    """
    if commit is not None:
        found = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
        if found is None:
            raise ValueError(f"there is no commit {commit}")
        return found
    head = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if _git("status", "--porcelain", "--", *SOURCES):
        return head
    fork = _git("merge-base", "HEAD", "origin/main")
    return fork if fork not in {None, head} else _git("rev-parse", "--verify", "--quiet", "HEAD^")


def _git(*arguments: str) -> str | None:
    """What git prints; None if it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
