"""Each kind of reference, over both connections."""

from __future__ import annotations

import math

import pytest

from model_checkpoint.database import Catalog, Listing
from model_checkpoint.errors import CheckpointNotFoundError
from model_checkpoint.types import CheckpointState
from tests.unit.database.samples import make_experiment, make_info

A = make_info(1, id="aaaa1111" + "0" * 24, step=100, metrics={"loss": 0.5, "accuracy": 0.9, "odd:name": 1.0})
B = make_info(2, id="aaaa2222" + "0" * 24, step=100, metrics={"loss": 0.7, "accuracy": 0.1, "odd:name": 2.0})
C = make_info(3, id="12345678" + "0" * 24, step=300, metrics={"loss": math.nan}, aliases=("v3", "beef"))
D = make_info(4, id="beef0000" + "0" * 24, step=400)
E = make_info(5, id="eeee0000" + "0" * 24, experiment="bert", step=300, aliases=("v3",), metrics={"loss": 0.1})
T = make_info(6, id="dead0000" + "0" * 24, step=600, state=CheckpointState.TRASHED)


@pytest.fixture(scope="module", params=["catalog", "listing"])
def lookup(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    with Catalog.open(root) as catalog:
        catalog.add_experiment(make_experiment(monitor="loss", mode="min"))
        catalog.add(A, B, C, D, E, T)
        if request.param == "catalog":
            yield catalog
        else:
            with Listing.open(root) as listing:
                yield listing


@pytest.mark.parametrize(
    ("ref", "experiment", "expected"),
    [
        ("latest", None, E),
        ("latest", "gpt2", D),
        ("gpt2:latest", "bert", D),
        ("best", "gpt2", A),
        ("gpt2:best", None, A),
        ("best:max", "gpt2", None),
        ("best@loss", "gpt2", A),
        ("best@loss:max", "gpt2", B),
        ("gpt2:best@loss:max", None, B),
        ("best@accuracy", "gpt2", A),  # by its name: larger is better
        ("best@accuracy:min", "gpt2", B),
        ("best@odd:name:max", "gpt2", B),
        ("best@loss", "bert", E),
        (100, None, B),
        ("100", None, B),
        ("00000100", None, B),
        ("gpt2:300", None, C),
        (300, "bert", E),
        ("12345678", None, C),  # no such step, so the beginning of an id
        ("1234", "gpt2", C),
        ("100-aaaa1111", None, A),
        ("step-00000100-aaaa1111", None, A),
        ("gpt2:100-aaaa1111", None, A),
        (f"100-{A.id}", None, A),
        ("gpt2:v3", None, C),
        ("v3", "bert", E),
        ("beef", None, C),  # the alias, not the id
        ("beef0", None, D),
        (D.id, None, D),
        ("aaaa2", None, B),
        (E.ref, None, E),
    ],
)
def test_references(lookup, ref, experiment, expected):
    """Each kind of reference finds its checkpoint, and a suffix without a metric finds none."""
    if expected is None:
        with pytest.raises(CheckpointNotFoundError):
            lookup.resolve(ref, experiment)
    else:
        assert lookup.resolve(ref, experiment).id == expected.id


@pytest.mark.parametrize(
    ("ref", "experiment", "candidates"),
    [
        (300, None, {C.ref, E.ref}),  # a step of two experiments
        ("v3", None, {C.ref, E.ref}),  # an alias of two experiments
        ("aaaa", None, {A.ref, B.ref}),  # two ids
        ("best", None, {"bert:best", "gpt2:best"}),
        ("best", "bert", {"best@METRIC"}),  # monitors nothing
        ("best@odd:name", "gpt2", {"best@odd:name:min", "best@odd:name:max"}),
    ],
)
def test_ambiguous_references_list_the_choices(lookup, ref, experiment, candidates):
    """A reference with more than one meaning is refused, and its meanings are proposed."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        lookup.resolve(ref, experiment)
    assert caught.value.ref == str(ref)
    assert set(caught.value.candidates) == candidates


@pytest.mark.parametrize(
    ("ref", "experiment", "candidate"),
    [
        (110, "gpt2", "gpt2:100"),
        ("390", None, "gpt2:400"),
        ("v33", "gpt2", "gpt2:v3"),
        ("lates", None, "latest"),
        ("gtp2:latest", None, "gpt2"),
        ("gpt2", None, "gpt2:latest"),
        ("100-aaaa1112", None, A.ref),
        ("eeee0001", None, E.ref),
    ],
)
def test_near_references_are_proposed(lookup, ref, experiment, candidate):
    """A reference that names nothing is refused with one that is near to it."""
    with pytest.raises(CheckpointNotFoundError, match="there is") as caught:
        lookup.resolve(ref, experiment)
    assert candidate in caught.value.candidates


@pytest.mark.parametrize("proposed_for", [110, "390", "v33", "lates", "gpt2", "100-aaaa1112", "aaaa", 300])
def test_candidates_resolve(lookup, proposed_for):
    """Every reference that is proposed works."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        lookup.resolve(proposed_for)
    for candidate in caught.value.candidates:
        if candidate != "best":  # of two experiments
            assert lookup.resolve(candidate)


@pytest.mark.parametrize(
    "ref",
    [
        "",
        ":",
        "gpt2:",
        "best@",
        "best@nothing:min",
        "aaa",
        "-1",
        "9" * 40,
        "zzz",
        "../x",
        "' OR 1=1 --",
        "%",
        "a\0b",
        "\udcff",
        "\udcff:latest",
    ],
)
def test_nonsense_is_not_found(lookup, ref):
    """Whatever the text, what names nothing is not found, and nothing else happens."""
    with pytest.raises(CheckpointNotFoundError):
        lookup.resolve(ref, "gpt2")


@pytest.mark.parametrize("ref", [T.id, "dead", 600, "600-dead0000"])
def test_trashed_checkpoints_are_found_only_on_demand(lookup, ref):
    """A trashed checkpoint is not found, the message says why, and it is found by who asks for trashed ones."""
    with pytest.raises(CheckpointNotFoundError, match=r"gpt2:600-dead0000 is trashed"):
        lookup.resolve(ref)
    assert lookup.resolve(ref, states=(CheckpointState.TRASHED,)).id == T.id


def test_an_empty_store_has_no_latest(tmp_path):
    """In a store without checkpoints every reference is refused."""
    with Catalog.open(tmp_path) as catalog:
        for ref in ("latest", "best", 1, "v1", "x:latest"):
            with pytest.raises(CheckpointNotFoundError):
                catalog.resolve(ref)
