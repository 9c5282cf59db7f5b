from __future__ import annotations

import enum
import math
import warnings
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.errors import FormatError, UnsupportedStateError
from model_checkpoint.storage.leaves import LeafRef, restore_leaf
from model_checkpoint.storage.state_tree import FlatState, children, flatten, references, unflatten
from model_checkpoint.utils import strict_json


def rebuilt(flat: FlatState) -> object:
    """The state again, by way of the JSON text, with the tensors that were to be stored."""
    stored = {}
    for component, gathered in flat.components.items():
        for spec, tensor, adapter in zip(gathered.specs, gathered.tensors, gathered.adapters, strict=True):
            stored[component, spec.name] = tensor
            for name, alias in gathered.aliases.items():
                if alias.of == spec.name:
                    view = alias.view
                    stored[component, name] = tensor if view is None else adapter.strided(tensor, view)
    made: dict[LeafRef, object] = {}

    def fetch(ref: LeafRef) -> object:
        if ref not in made:
            made[ref] = restore_leaf(stored[ref.component, ref.name], ref)
        return made[ref]

    tree = strict_json.parse(strict_json.dump(flat.tree).encode(), path="manifest.json")
    return unflatten(tree, fetch, path="manifest.json")


def same(a: object, b: object) -> bool:  # noqa: PLR0911 - one case a line
    """Equality that tells types, the sign of zero, NaN and the order of dicts."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a, b)) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.requires_grad == b.requires_grad and torch.equal(a, b)
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return repr(a) == repr(b)
    return a == b


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sampled_from([torch.float32, torch.bfloat16, torch.device("cpu"), torch.Size([2, 0]), torch.strided])
    | st.sampled_from([torch.channels_last, np.float32(1.5), np.int64(-1), np.bool_(True), np.complex128(1 + 2j)])
)
KEYS = st.text() | st.integers() | st.booleans() | st.none() | st.binary() | st.tuples(st.integers(), st.text())
STATES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.dictionaries(st.text(), inner).map(OrderedDict)
        | st.sets(st.text() | st.integers())
        | st.frozensets(st.binary() | st.integers())
    ),
    max_leaves=20,
)


@given(STATES)
def test_any_nest_of_plain_values_comes_back_the_same(state):
    """Containers, keys, numbers and texts survive with their types and order."""
    assert same(rebuilt(flatten(state)), state)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        -0.0,
        5e-324,
        2**63,
        -(2**63) - 1,
        2**4000,
        1j,
        complex(math.inf, -0.0),
        b"",
        b"x" * 4096,
        b"x" * 4097,
        "😀é\n",
        {"$tensor": 1},
        {"": 1, "$": 2},
        (),
        [],
        {},
        set(),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_values_that_json_lacks_come_back_the_same(value):
    """Special floats, large integers, bytes of any length and odd keys survive."""
    assert same(rebuilt(flatten({"a": [value]})), {"a": [value]})


DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool complex64".split()
DTYPES += "complex128 complex32 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu".split()


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")  # torch's own words, once a process
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)], ids=str)
def test_every_torch_dtype_and_shape_comes_back(name, shape):
    """Tensors keep dtype, shape and bits."""
    dtype = getattr(torch, name)
    count = math.prod(shape)
    bits = torch.arange(1, count * dtype.itemsize + 1, dtype=torch.uint8).reshape(-1)
    bits = bits % 2 if dtype is torch.bool else bits
    tensor = bits.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
    back = rebuilt(flatten({"t": tensor}))["t"]
    assert (back.dtype, back.shape) == (dtype, tensor.shape)
    assert back.contiguous().reshape(-1).view(torch.uint8).tolist() == bits.tolist()


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "?", "c8", "c16", "M8[ns]", "m8[s]"])
def test_every_numpy_dtype_comes_back(dtype):
    """Arrays keep dtype, shape and bits; strided ones too."""
    array = np.arange(12).astype(dtype).reshape(3, 4)[:, ::2]
    assert same(rebuilt(flatten({"a": [array, np.array(array[0, 0])]}))["a"][0], array)


@pytest.mark.parametrize(
    "value", [np.float16(1.5), np.uint8(3), np.datetime64("2026-01-02", "D"), np.timedelta64(5, "s")]
)
def test_numpy_scalars_stay_numpy_scalars(value):
    """A numpy scalar does not become a Python number."""
    assert same(rebuilt(flatten([value])), [value])


def test_parameters_and_gradients_are_told_apart():
    """Parameters come back as parameters, and requires_grad is kept."""
    state = {
        "p": torch.nn.Parameter(torch.ones(2)),
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "g": torch.ones(2, requires_grad=True),
        "t": torch.ones(2),
    }
    back = rebuilt(flatten(state))
    assert {key: (type(v), v.requires_grad) for key, v in back.items()} == {
        key: (type(v), v.requires_grad) for key, v in state.items()
    }


def test_conjugate_and_negative_views_are_resolved():
    """Lazy conjugation and negation are part of the values that are stored."""
    z = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex128)
    state = {"c": z.conj(), "n": z.conj().imag}
    back = rebuilt(flatten(state))
    assert back["c"].tolist() == [1 - 2j, 3 + 4j]
    assert back["n"].tolist() == [-2.0, 4.0]


def test_an_ordered_dict_keeps_the_metadata_of_torch():
    """The versions that state dicts carry decide how modules load them."""
    state = torch.nn.BatchNorm1d(2).state_dict()
    back = rebuilt(flatten({"m": state, "s": 1}))["m"]
    assert type(back) is OrderedDict
    assert back._metadata == state._metadata


def test_the_same_tensor_in_two_places_is_stored_once_and_stays_one_object():
    """Identity holds within a component and across components."""
    w = torch.arange(4.0)
    flat = flatten({"a": {"x": w, "y": w}, "b": {"z": w}})
    assert [[spec.name for spec in g.specs] for g in flat.components.values()] == [["x"]]
    back = rebuilt(flat)
    assert back["a"]["x"] is back["a"]["y"] is back["b"]["z"]


def test_tied_weights_keep_both_names_in_the_file():
    """Two objects on one memory: the second becomes an alias, so that the file has every name of the state dict."""
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    module["b"].weight = module["a"].weight
    gathered = flatten({"model": module, "step": 1}).components["model"]
    assert [spec.name for spec in gathered.specs] == ["a.weight", "a.bias", "b.bias"]
    assert gathered.aliases["b.weight"].of == "a.weight"


def test_views_come_back_as_views_even_across_components():
    """A slice of a stored tensor changes with it after a round trip."""
    w = torch.arange(12.0).reshape(3, 4)
    back = rebuilt(flatten({"a": {"w": w}, "b": {"row": w[1], "t": w.t()}}))
    back["a"]["w"][1] = 7
    assert back["b"]["row"].tolist() == [7.0] * 4
    assert back["b"]["t"][:, 1].tolist() == [7.0] * 4


def test_a_flat_dict_of_tensors_is_the_component_model():
    """A state dict saved as it is goes to model.safetensors with its own names."""
    flat = flatten({"a.w": torch.ones(1), "b": np.ones(1), "epoch": 3})
    assert {key: [s.name for s in g.specs] for key, g in flat.components.items()} == {"model": ["a.w", "b"]}


def test_parts_become_components_and_loose_tensors_have_their_own():
    """Each value of a state that is a container or an object has its file."""
    flat = flatten({"net": torch.nn.Linear(1, 1), "opt": [torch.ones(1)], "w": torch.ones(2), "n": {"k": 1}})
    names = {key: [s.name for s in g.specs] for key, g in flat.components.items()}
    assert names == {"net": ["weight", "bias"], "opt": ["0"], "state": ["w"]}


@pytest.mark.parametrize("key", ["a/b", "..", "", "model-00001-of-00002", "CON", 0, "x" * 100])
def test_a_state_whose_keys_are_no_file_names_is_one_component(key):
    """No key of a state ever becomes a path that it must not be."""
    flat = flatten({key: [torch.ones(1)], "other": [torch.ones(1) * 2]})
    assert list(flat.components) == ["model"]


def test_names_that_collide_or_are_illegal_are_made_unique():
    """Tensor names follow the keys as far as the format lets them; the tree finds them in any case."""
    state = {"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1), "é": torch.ones(2), "e\u0301": torch.ones(3)}
    state |= {"__metadata__": torch.ones(4), "x\ny": torch.ones(5), "long" * 200: torch.ones(6), 0: torch.ones(7)}
    state["0"] = torch.ones(8)
    flat = flatten(state)
    names = [spec.name for spec in flat.components["model"].specs]
    assert names[:6] == ["a.b", "a.b~2", "é", "é~2", "__metadata__~2", "x_y"]
    assert names[7:] == ["0", "0~2"]
    assert len(names[6]) == 480
    assert same(rebuilt(flat), state)


class Meta(enum.IntEnum):
    ONE = 1


Point = namedtuple("Point", "x y")  # noqa: PYI024


class WithHook:
    def state_dict(self):
        return {"state": {0: {"hook": lambda: None}}}


def cyclic() -> list:
    state: list = []
    state.append({"again": state})
    return state


def deep() -> object:
    state: object = 0
    for _ in range(65):
        state = [state]
    return state


def endless() -> object:
    class Endless:
        def state_dict(self):
            return Endless()

    return Endless()


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is giving them up
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"optimizer": WithHook()}, "optimizer.state[0].hook"),
        ({"a": [1, object()]}, "a[1]"),
        ({"a": {(1, 2): Meta.ONE}}, "a[(1, 2)]"),
        ({"a": Point(1, 2)}, "a"),
        ({"a": defaultdict(list)}, "a"),
        ({"a": cyclic()}, "a[0].again"),
        (deep(), "[0]" * 64),
        ({"a": endless()}, "a"),
        ({"a": torch.eye(2).to_sparse()}, "a"),
        ({"a": torch.empty(2, device="meta")}, "a"),
        ({"a": quantized()}, "a"),
        ({"a": np.array([object()])}, "a"),
        ({"a": np.ma.masked_array([1])}, "a"),
        ({"a": np.ones(2, ">f4")}, "a"),
        ({"a": np.array(["text"])}, "a"),
        ({"a": np.longdouble(1)}, "a"),
        ({"a": np.str_("x")}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"a": {"\ud800": 1}}, "a.\ud800"),
        ({"a": {math.nan: 1}}, "a[nan]"),
        ({"a": {torch.ones(1): 1}}, None),
        ({"a": {1, b"x" * 5000}}, "a"),
        ({"a": bytearray(b"x")}, "a"),
        ({"a": torch.nn.Linear}, "a"),
        ({"a": 10**5000}, "a"),
        (3 + 4j and (lambda: 0), "the state itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_stored_is_refused_with_its_path(state, where):
    """Nothing is dropped or changed silently, and the error says where it is."""
    with pytest.raises(UnsupportedStateError) as error:
        flatten(state)
    assert where is None or error.value.where == where


def test_overlapping_tensors_that_are_no_views_of_each_other_are_refused():
    """Their sharing could not be restored."""
    w = torch.arange(8.0)
    with pytest.raises(UnsupportedStateError, match="overlaps"):
        flatten({"a": w[:5], "b": w[3:]})


def test_a_flat_state_holds_no_mutable_part_of_the_state():
    """Containers may change as soon as flatten returns."""
    state = {"a": [1, 2], "b": {"c": [1.0]}, "s": {1}}
    flat = flatten(state)
    state["a"].append(3)
    state["b"]["c"].clear()
    state["s"].add(2)
    assert rebuilt(flat) == {"a": [1, 2], "b": {"c": [1.0]}, "s": {1}}


def test_equal_sets_have_equal_trees():
    """Sets have no order, so that the order of insertion must not show in digests."""
    assert flatten({"a", "b", "c", "d"}).tree == flatten({"d", "c", "b", "a"}).tree


@pytest.mark.parametrize(
    "tree",
    [
        {"$unknown": 1},
        {"$int": "1e5"},
        {"$int": 5},
        {"$float": "1.0"},
        {"$float": ["nan"]},
        {"$complex": [1.0]},
        {"$complex": [1.0, 2]},
        {"$bytes": "***"},
        {"$bytes": "AAAA", "x": 1},
        {"$scalar": ["object", "00"]},
        {"$scalar": ["i4,i4", "00"]},
        {"$scalar": ["float32", "00"]},
        {"$scalar": ["float32"]},
        {"$tuple": 5},
        {"$tuple": {"a": 1}},
        {"$set": [1, 1]},
        {"$set": [[1]]},
        {"$dict": [[1, 2], [1, 3]]},
        {"$dict": [[1, 2, 3]]},
        {"$dict": [[[], 1]]},
        {"$dict": 5},
        {"$ordered": [], "other": 1},
        {"$size": [-1]},
        {"$size": [1.0]},
        {"$dtype": "save"},
        {"$dtype": "float32", "x": 1},
        {"$device": "not a device"},
        {"$device": 5},
        {"$layout": "float32"},
        {"$memory_format": ""},
        {"$tensor": ["../x", "w"]},
        {"$tensor": ["model"]},
        {"$tensor": ["model", 5]},
        {"$tensor": ["model", "w"], "$array": ["model", "w"]},
        {"$tensor": ["model", "w"], "parameter": 1},
        {"$tensor": ["model", "w"], "surprise": True},
        {"$array": ["model", "w"], "parameter": True},
        2**63,
        1e308 * 10,
    ],
    ids=repr,
)
def test_malformed_forms_are_refused(tree):
    """Every form is checked, wherever it stands."""
    with pytest.raises(FormatError) as error:
        unflatten({"a": [tree]}, lambda ref: ref, path="m.json")
    assert error.value.rule == "state"
    assert error.value.path == "m.json"


def test_trees_may_be_64_deep_and_no_deeper():
    """The limit of the format is the limit of both directions."""
    tree: object = 1
    for _ in range(64):
        tree = [tree]
    assert unflatten(flatten(tree).tree, lambda ref: ref, path="m") == tree
    with pytest.raises(FormatError, match="64"):
        unflatten([tree], lambda ref: ref, path="m")


def test_references_are_told_once_each():
    """Two places of one tensor are one reference."""
    w = torch.ones(2)
    flat = flatten({"a": [w, w, np.ones(1)], "b": {"c": b"x" * 5000}})
    found = references(flat.tree, path="m")
    assert [(ref.component, ref.name, ref.kind) for ref in found] == [
        ("a", "0", "tensor"),
        ("a", "2", "array"),
        ("b", "c", "bytes"),
    ]


def test_children_sees_through_every_container():
    """Dicts of all forms, lists and tuples have children; other nodes have none."""
    tree = flatten(
        {"d": {1: "x"}, "o": OrderedDict(k=1), "t": (5,), "l": [6], "p": {"q": 7}, "n": 8, "f": math.nan}
    ).tree
    inside = {key: children(node) for key, node in children(tree)}
    assert inside == {
        "d": [(1, "x")],
        "o": [("k", 1)],
        "t": [(0, 5)],
        "l": [(0, 6)],
        "p": [("q", 7)],
        "n": None,
        "f": None,
    }
