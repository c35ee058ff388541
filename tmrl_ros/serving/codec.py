"""msgpack with numpy arrays, in the encoding of openpi's client (`openpi_client.msgpack_numpy`).

An array is a map with the keys `__ndarray__`, `data`, `dtype` and `shape`, a numpy scalar one with
`__npgeneric__`, `data` and `dtype`, all keys as bytes. Unlike theirs, nothing is believed about
what comes in: only numbers and booleans are arrays, and the data must be as long as the shape says.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
import numpy as np

ARRAY, SCALAR = b"__ndarray__", b"__npgeneric__"
DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
MAX_DIMENSIONS = 8


class CodecError(ValueError):
    """Bytes that are no message, or a value that cannot be one; the text says which."""


def encode(value: Any) -> bytes:
    """Bytes of a message.

    Raises:
        CodecError: A value is not a number, text, bytes, list, map or array of numbers.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_pack)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"this cannot be sent: {error}") from None
    return packed


def decode(data: bytes) -> Any:
    """The message in some bytes; its arrays own their memory.

    Raises:
        CodecError: The bytes are no message.
    """
    try:
        return msgpack.unpackb(data, object_hook=_unpack)
    except CodecError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        what = str(error) or type(error).__name__
        raise CodecError(f"the message is not msgpack: {what[:120]}") from None


def _pack(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"{type(value).__name__} is none of msgpack's types")
    if not DTYPE.fullmatch(value.dtype.str):
        raise TypeError(f"arrays of {value.dtype} are not sent, only numbers and booleans")
    if isinstance(value, np.generic):
        return {SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    return {ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def _unpack(value: dict[Any, Any]) -> Any:
    if ARRAY in value:
        return _array(value.get(b"data"), _dtype(value), value.get(b"shape"))
    if SCALAR in value:
        data = value.get(b"data")
        if not isinstance(data, bool | int | float):
            raise CodecError(f"a scalar holds {type(data).__name__}")
        return _dtype(value).type(data)
    return value


def _dtype(value: dict[Any, Any]) -> np.dtype[Any]:
    name = value.get(b"dtype")
    if not isinstance(name, str) or not DTYPE.fullmatch(name):
        raise CodecError(f"arrays of {str(name)[:40]!r} are not taken, only numbers and booleans")
    return np.dtype(name)


def _array(data: Any, dtype: np.dtype[Any], shape: Any) -> np.ndarray[Any, Any]:
    sizes = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS
    if not sizes or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise CodecError(f"an array has the shape {str(shape)[:60]}")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
        length = len(data) if isinstance(data, bytes) else type(data).__name__
        raise CodecError(f"an array {tuple(shape)} of {dtype} has {length} bytes of data")
    return np.frombuffer(data, dtype).reshape(shape).copy()
