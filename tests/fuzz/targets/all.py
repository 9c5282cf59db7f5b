"""Every target by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import checkpoint, differential, header, load, manifest, records, state, text

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        header.TARGET,
        load.TARGET,
        differential.TARGET,
        manifest.TARGET,
        state.TARGET,
        checkpoint.TARGET,
        text.TARGET,
        *records.TARGETS,
    )
}
