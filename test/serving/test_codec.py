"""Bytes that travel: openpi's encoding, and nothing that comes in is believed."""

import pickle

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from openpi_wire import packb, unpackb

from tmrl_ros.serving.codec import CodecError, decode, encode

NUMBERS = ["u1", "i2", "<i8", "<f2", "<f4", "<f8", "?"]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from([b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    return one == other


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0))
    )
)
def test_arrays_come_back_and_openpi_reads_and_writes_the_same_bytes(array):
    assert encode(array) == packb(array)
    assert same(array, decode(encode(array)))
    assert same(array, decode(packb(array)))
    assert same(array, unpackb(encode(array)))


@given(anything)
def test_whatever_is_decoded_is_data_or_a_sentence(value):
    try:
        packed = msgpack.packb(value)
    except (OverflowError, ValueError):
        return
    try:
        decode(packed)
    except CodecError as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_data_or_a_sentence(data):
    try:
        decode(data)
    except CodecError as error:
        assert str(error)


def test_scalars_keep_their_type():
    found = decode(encode({"a": np.float32(0.5), "b": np.bool_(True), "c": np.int16(-3)}))
    assert [type(value) for value in found.values()] == [np.float32, np.bool_, np.int16]


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1 + 2j]),
        np.array(["text"]),
        np.zeros(2, [("a", "f4")]),
        np.datetime64("2020-01-01"),
        {1, 2},
    ],
)
def test_what_is_no_number_is_not_sent(value):
    with pytest.raises(CodecError, match="cannot be sent"):
        encode(value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({b"dtype": "|O"}, "only numbers"),
        ({b"dtype": "|V8"}, "only numbers"),
        ({b"dtype": "<f4,<f4"}, "only numbers"),
        ({b"dtype": 3}, "only numbers"),
        ({b"shape": [-1, 2]}, "shape"),
        ({b"shape": [2, 2.0]}, "shape"),
        ({b"shape": [1] * 9}, "shape"),
        ({b"shape": [2**31, 2**31]}, "shape"),
        ({b"shape": [2**30, 2**30]}, "bytes of data"),
        ({b"shape": [3]}, "bytes of data"),
        ({b"data": "text"}, "bytes of data"),
    ],
)
def test_arrays_that_are_none_are_refused(changes, said):
    good = {b"__ndarray__": True, b"data": bytes(16), b"dtype": "<f4", b"shape": [2, 2]}
    assert decode(msgpack.packb(good)).shape == (2, 2)
    with pytest.raises(CodecError, match=said):
        decode(msgpack.packb({**good, **changes}))


def test_a_pickle_is_not_msgpack():
    with pytest.raises(CodecError):
        decode(pickle.dumps({"images": [1, 2, 3]}))
