"""Which revision of the schema a catalog has, and whether this version can work with it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from model_checkpoint.errors import CatalogDamagedError, CatalogError

__all__ = ["REVISION", "is_current", "no_catalog", "no_program"]

REVISION = "0005"
"""The newest migration; revisions are four digits and sort in order."""

_KNOWN_FORM = re.compile(r"[0-9]{4}")


def is_current(found: str, where: str) -> bool:
    """Whether the revision found in the catalog at ``where`` is this version's own; if not, it is an earlier one.

    Raises:
        CatalogError: It is a later one.
        CatalogDamagedError: It is none of ours.
    """
    if _KNOWN_FORM.fullmatch(found) is None:
        raise CatalogDamagedError(f"{where} is not a catalog (revision {found!r}); `mckpt reindex` makes a new one")
    if found > REVISION:
        raise CatalogError(
            f"{where} was written by a later version of model-checkpoint-engine (revision {found}; this one knows "
            f"{REVISION}); upgrade this installation"
        )
    return found == REVISION


def no_program(names: Sequence[object], where: str) -> None:
    """Refuse a catalog with triggers, views or virtual tables: whoever forged it wants something computed, or for ever.

    Args:
        names: What there is of them.
        where: The catalog.

    Raises:
        CatalogDamagedError: There is one.
    """
    if names:
        raise CatalogDamagedError(
            f"{where} has a trigger, view or virtual table ({str(names[0])!r:.40}), which no catalog has; "
            "`mckpt reindex` makes a new one"
        )


def no_catalog(where: str) -> CatalogDamagedError:
    """What to raise for a database that holds other tables than ours."""
    return CatalogDamagedError(f"{where} is a database, but not a catalog; `mckpt reindex` makes a new one")
