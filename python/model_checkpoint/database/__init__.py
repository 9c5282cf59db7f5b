"""The catalog: an index over the store's manifests, in SQL.

`Catalog` is the whole of it, over SQLAlchemy. `model_checkpoint.database.listing` answers the command line's questions
with the standard library alone; both share their SQL, so names are imported from here only when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_checkpoint.database.base_connection import BaseDatabaseConnection
    from model_checkpoint.database.catalog import Catalog
    from model_checkpoint.database.listing import Listing
    from model_checkpoint.database.metric_table import MetricTable
    from model_checkpoint.database.opening import set_aside
    from model_checkpoint.database.records import AuditEntry

__all__ = ["AuditEntry", "BaseDatabaseConnection", "Catalog", "Listing", "MetricTable", "set_aside"]

_HOMES = {
    "AuditEntry": "records",
    "BaseDatabaseConnection": "base_connection",
    "Catalog": "catalog",
    "Listing": "listing",
    "MetricTable": "metric_table",
    "set_aside": "opening",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
