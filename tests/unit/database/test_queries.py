"""Queries go by an index."""

from __future__ import annotations

import sqlite3

import pytest

from model_checkpoint.database import queries as q

PARAMETERS = {
    **dict.fromkeys(("experiment", "limit", "id", "first", "last", "step", "alias", "metric", "first_step"), 1),
    **dict.fromkeys(("state0", "state1", "state2", "state3"), 1),
}
SELECTIONS = {
    "latest": q.select(states=1),
    "latest of an experiment": q.select(q.IN_EXPERIMENT, states=1),
    "list in several states": q.select(states=4),
    "list of an experiment in several states": q.select(q.IN_EXPERIMENT, states=2),
    "best, smaller": q.best("min", states=1),
    "best, larger": q.best("max", states=1),
    "id": q.select(q.BY_ID, states=4),
    "prefix": q.select(states=1, source=q.OF_PREFIX),
    "prefix in an experiment": q.select(q.IN_EXPERIMENT, states=1, source=q.OF_PREFIX),
    "step": q.select(states=1, source=q.OF_STEP),
    "step in an experiment": q.select(q.IN_EXPERIMENT, states=4, source=q.OF_STEP),
    "step and prefix": q.select(states=1, source=q.OF_STEP_AND_PREFIX),
    "alias": q.select(q.BY_ALIAS, states=1, source=q.WITH_ALIASES),
}


def plan(root, statement):
    connection = sqlite3.connect(root / "catalog.db")
    try:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", PARAMETERS)]
    finally:
        connection.close()


@pytest.mark.parametrize("name", SELECTIONS)
def test_no_selection_walks_a_table(catalog, tmp_path, name):
    """A selection, and what reads its checkpoints' details, searches indexes; it scans only its own result."""
    for statement in (SELECTIONS[name], *q.details_of(SELECTIONS[name])):
        steps = plan(tmp_path, statement)
        assert any(step.startswith("SEARCH") for step in steps)
        results = {step.split()[1] for step in steps if step.startswith("CO-ROUTINE")}
        assert {step.split()[1] for step in steps if step.startswith("SCAN")} <= results


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("latest", "ix_checkpoints_state_seq (state=?)"),
        ("latest of an experiment", "ix_checkpoints_experiment_state_seq_step_id (experiment=? AND state=?)"),
        ("best, larger", "ix_checkpoint_metrics_experiment_name_value_seq (experiment=? AND name=? AND value>?)"),
        ("step in an experiment", "ix_checkpoints_step (step=?)"),
        ("prefix in an experiment", "sqlite_autoindex_checkpoints_1 (id>? AND id<?)"),
        ("alias", "PRIMARY KEY (alias=?)"),
    ],
)
def test_each_question_has_its_index(catalog, tmp_path, name, index):
    """The first table is searched by the index that was made for the question."""
    searches = [step for step in plan(tmp_path, SELECTIONS[name]) if step.startswith("SEARCH")]
    assert searches[0].endswith(index)


@pytest.mark.parametrize("name", ["latest", "latest of an experiment"])
def test_the_newest_are_read_in_order(catalog, tmp_path, name):
    """The newest of one state come out of the index in order: nothing is sorted."""
    assert not any("TEMP B-TREE" in step for step in plan(tmp_path, SELECTIONS[name]))


def test_the_history_of_a_checkpoint_goes_by_an_index(catalog, tmp_path):
    """It is searched, not scanned, and not sorted."""
    (step,) = plan(tmp_path, q.AUDIT_LOG_OF_CHECKPOINT)
    assert step.startswith("SEARCH")


@pytest.mark.parametrize("statement", [q.order(states=1), q.VALUES, q.IDENTITIES])
def test_columns_are_read_from_indexes_alone(catalog, tmp_path, statement):
    """What the best is chosen by needs no row of a table, and is sorted by no step of its own."""
    (step,) = plan(tmp_path, statement)
    assert "USING COVERING INDEX" in step
