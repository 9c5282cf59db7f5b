"""Element types and the layout of the data area."""

from __future__ import annotations

import math

import hypothesis.strategies as st
from hypothesis import given

from model_checkpoint.storage.safetensors.dtypes import DTYPES, ML_DTYPES_NAMES, NUMPY_NAMES, TORCH_NAMES
from model_checkpoint.storage.safetensors.layout import PAGE_BYTES, TensorSpec, alignment_class, plan

WHOLE_BYTES = [name for name, dtype in DTYPES.items() if dtype.bits >= 8]

specs_lists = st.lists(
    st.builds(
        TensorSpec,
        st.text("abcäß界", min_size=1, max_size=4),
        st.sampled_from(WHOLE_BYTES),
        st.lists(st.integers(0, 65), max_size=3).map(tuple),
    ),
    max_size=12,
    unique_by=lambda spec: spec.name,
)


def test_the_format_has_these_dtypes_for_ever():
    """The names and sizes of dtypes are those of the format, and none is added or lost unnoticed."""
    assert {name: dtype.bits for name, dtype in DTYPES.items()} == {
        **dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0"], 8),
        **dict.fromkeys(["I16", "U16", "F16", "BF16"], 16),
        **dict.fromkeys(["I32", "U32", "F32"], 32),
        **dict.fromkeys(["C64", "I64", "U64", "F64"], 64),
        "F4": 4,
        **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    }


def test_frameworks_name_only_dtypes_of_the_format():
    """Every dtype that a framework can hold is one of the format, and all but F6 have a framework."""
    assert set(NUMPY_NAMES) | set(ML_DTYPES_NAMES) | set(TORCH_NAMES) == set(DTYPES) - {"F6_E2M3", "F6_E3M2"}


def test_alignment_class_is_the_largest_power_of_two_that_divides_the_size():
    """The class of a size is its lowest set bit, at most a page; that of nothing is a page."""
    sizes = [0, 1, 2, 3, 12, 4096, 8192, 4096 + 64, 100]
    assert [alignment_class(size) for size in sizes] == [4096, 1, 2, 1, 4, 4096, 4096, 64, 4]


@given(specs_lists)
def test_every_tensor_begins_at_a_multiple_of_its_class(specs):
    """Without any holes, every tensor is aligned to its class and so to its element size."""
    layout = plan(specs)
    for spec, offset in zip(specs, layout.offsets, strict=True):
        assert offset % alignment_class(spec.nbytes) == 0
        assert offset % (DTYPES[spec.dtype].bits // 8) == 0
        assert spec.nbytes % PAGE_BYTES or offset % PAGE_BYTES == 0


@given(specs_lists)
def test_tensors_cover_the_data_area_exactly(specs):
    """In data order each tensor begins where the one before ends."""
    layout = plan(specs)
    end = 0
    for index in layout.order:
        assert layout.offsets[index] == end
        end += specs[index].nbytes
    assert layout.nbytes == end == sum(layout.sizes)
    assert sorted(layout.order) == list(range(len(specs)))


@given(specs_lists)
def test_equal_classes_are_ordered_by_the_bytes_of_their_names(specs):
    """The layout does not depend on the order in which tensors are given."""
    layout, reverse = plan(specs), plan(specs[::-1])
    by_name = {spec.name: offset for spec, offset in zip(specs, layout.offsets, strict=True)}
    assert by_name == {spec.name: offset for spec, offset in zip(specs[::-1], reverse.offsets, strict=True)}
    keys = [(-alignment_class(specs[index].nbytes), specs[index].name.encode()) for index in layout.order]
    assert keys == sorted(keys)


def test_a_spec_knows_its_size_also_with_packed_elements():
    """Sizes are the product of the dimensions times the bits of an element."""
    assert TensorSpec("a", "BF16", (3, 5)).nbytes == 30
    assert TensorSpec("a", "F4", (3, 4)).nbytes == 6
    assert TensorSpec("a", "F6_E2M3", (8,)).nbytes == 6
    assert TensorSpec("a", "F64", ()).nbytes == 8
    assert TensorSpec("a", "F64", (math.prod([]), 0)).nbytes == 0
