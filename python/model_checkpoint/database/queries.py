"""The SQL that reads the catalog, as text: what runs over SQLAlchemy and over the standard library is the same.

Parameters are named (``:experiment``). A *selection* is a statement whose rows are checkpoints, by `COLUMNS`; what
belongs to its checkpoints is read by the statements of `details_of`. Nothing here is ever composed from input.
"""

from __future__ import annotations

import functools

from model_checkpoint.types import Mode

__all__ = [
    "AUDIT_LOG",
    "AUDIT_LOG_OF_ACTION",
    "AUDIT_LOG_OF_CHECKPOINT",
    "BY_ALIAS",
    "BY_ID",
    "CHECKPOINTS",
    "COLUMNS",
    "EXPERIMENT",
    "EXPERIMENTS",
    "IDENTITIES",
    "IDENTITY",
    "IN_EXPERIMENT",
    "NEAREST_STEPS",
    "NO_LIMIT",
    "OF_PREFIX",
    "OF_STEP",
    "OF_STEP_AND_PREFIX",
    "PROGRAMS",
    "REVISION",
    "SEGMENTS",
    "TABLES",
    "VALUES",
    "WITH_ALIASES",
    "best",
    "details_of",
    "order",
    "select",
]

COLUMNS = (
    *("id", "experiment", "seq", "step", "created_at", "path", "nbytes", "digest", "content"),
    *("state", "backend", "parent", "pinned", "verified_at"),
)
NO_LIMIT = 2**63 - 1

# Conditions of a selection.
IN_EXPERIMENT = "c.experiment = :experiment"
BY_ID = "c.id = :id"
BY_ALIAS = "a.alias = :alias AND a.checkpoint = c.id"

# Where a selection takes its rows from. The last three are few rows: without the limit, which keeps the condition
# apart from the others, SQLite would rather walk all checkpoints of a state.
CHECKPOINTS = "checkpoints AS c"
WITH_ALIASES = "aliases AS a CROSS JOIN checkpoints AS c"
OF_STEP = f"(SELECT * FROM checkpoints WHERE step = :step LIMIT {NO_LIMIT}) AS c"  # noqa: S608 - constants
OF_PREFIX = f"(SELECT * FROM checkpoints WHERE id >= :first AND id < :last LIMIT {NO_LIMIT}) AS c"  # noqa: S608
OF_STEP_AND_PREFIX = (
    f"(SELECT * FROM checkpoints WHERE id >= :first AND id < :last AND step = :step LIMIT {NO_LIMIT}) AS c"  # noqa: S608
)


@functools.cache
def select(*conditions: str, states: int, source: str = CHECKPOINTS, order: str = "c.seq DESC") -> str:
    """The selection of at most ``:limit`` checkpoints in one of the states ``:state0`` to ``:state<states - 1>``."""
    in_states = f"c.state IN ({', '.join(f':state{number}' for number in range(states))})"
    where = " AND ".join((*conditions, in_states))
    columns = ", ".join(f"c.{name}" for name in COLUMNS)
    return f"SELECT {columns} FROM {source} WHERE {where} ORDER BY {order} LIMIT :limit"  # noqa: S608 - constants


def best(mode: Mode, *, states: int) -> str:
    """The selection by ``:metric`` in ``:experiment``, best first; NaN is NULL and never among them."""
    return select(
        "m.experiment = :experiment AND m.name = :metric AND m.value IS NOT NULL AND c.id = m.checkpoint",
        states=states,
        source="checkpoint_metrics AS m CROSS JOIN checkpoints AS c",
        order=f"m.value {'ASC' if mode == 'min' else 'DESC'}, c.seq DESC",
    )


@functools.cache
def order(*, states: int) -> str:
    """The seq of all checkpoints of ``:experiment``, in their order, by the index alone."""
    in_states = ", ".join(f":state{number}" for number in range(states))
    return (
        f"SELECT seq FROM checkpoints WHERE experiment = :experiment AND state IN ({in_states}) "  # noqa: S608
        "ORDER BY seq"
    )


# Of all checkpoints of an experiment, whatever their state, by the index alone. To join this to `order` costs SQLite
# a search for each row: three times what a dict costs.
VALUES = "SELECT seq, value FROM checkpoint_metrics WHERE experiment = :experiment AND name = :metric"

# Who has a place in the commit order: one, or all of an experiment, whatever their state.
IDENTITY = "SELECT seq, id, step FROM checkpoints WHERE experiment = :experiment AND seq = :seq"
IDENTITIES = "SELECT seq, id, step FROM checkpoints WHERE experiment = :experiment"


@functools.cache
def details_of(selection: str) -> tuple[str, str, str]:
    """Three statements for (checkpoint, name, value) of the metrics, (checkpoint, key, value) of the tags and
    (checkpoint, alias) of the aliases of a selection's checkpoints; they take the selection's parameters.
    """
    chosen = f"FROM ({selection}) AS s CROSS JOIN"
    of = "AS d WHERE d.checkpoint = s.id ORDER BY"
    return (
        f"SELECT d.checkpoint, d.name, d.value {chosen} checkpoint_metrics {of} d.name",
        f"SELECT d.checkpoint, d.key, d.value {chosen} tags {of} d.key",
        f"SELECT d.checkpoint, d.alias {chosen} aliases {of} d.alias",
    )


_SETTINGS = "SELECT name, created_at, monitor, mode, keep, config, criterion FROM experiments"
EXPERIMENTS = f"{_SETTINGS} ORDER BY created_at, name"
EXPERIMENT = f"{_SETTINGS} WHERE name = :experiment"

SEGMENTS = "SELECT path, experiment, points, first_step, last_step, nbytes, digest FROM metric_segments ORDER BY path"

NEAREST_STEPS = (
    "SELECT DISTINCT c.step FROM checkpoints AS c WHERE c.experiment = :experiment AND c.state = :state0 "
    "ORDER BY abs(c.step - :step), c.step LIMIT :limit"
)

AUDIT_LOG = "SELECT at, action, checkpoint, actor, details FROM audit_log ORDER BY id DESC LIMIT :limit"
AUDIT_LOG_OF_ACTION = "SELECT at, action, checkpoint, actor, details FROM audit_log WHERE action = :action ORDER BY id"
AUDIT_LOG_OF_CHECKPOINT = (
    "SELECT at, action, checkpoint, actor, details FROM audit_log WHERE checkpoint = :id ORDER BY id DESC LIMIT :limit"
)

REVISION = "SELECT version_num FROM alembic_version"
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
PROGRAMS = (  # a catalog has none of these; what else runs, runs only where something is written
    "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view') OR sql LIKE 'create virtual%'"
)
