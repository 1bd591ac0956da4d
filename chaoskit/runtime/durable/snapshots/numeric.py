"""Many numbers as raw bytes: arrays of NumPy and of the standard library.

Loading imports NumPy only for values of NumPy. Arrays of objects are refused, since their bytes are
addresses.
"""

from __future__ import annotations

import math
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

__all__ = ["Buffers", "array_from_json", "array_to_json", "ndarray_from_json", "ndarray_to_json"]
__all__ += ["scalar_from_json", "scalar_to_json"]


class Buffers(Protocol):
    """Takes the bytes that are too many for the JSON head."""

    def put(self, data: Any) -> int:
        """Keep a buffer and return its number."""


def array_to_json(value: array[Any], buffers: Buffers) -> Any:
    """An ``array.array`` as JSON and a buffer.

    Raises:
        TypeError: it is an array of characters, whose width depends on the machine.
    """
    if value.typecode in "uw":
        raise TypeError("it is an array of characters; expected a str")
    return {
        "$": "numbers",
        "t": value.typecode,
        "e": sys.byteorder,
        "b": buffers.put(memoryview(value).cast("B")),
    }


def array_from_json(node: Mapping[str, Any], buffers: Sequence[memoryview]) -> array[Any]:
    """The array that ``node`` describes, in the byte order of this machine.

    Raises:
        ValueError: its type is unknown.
    """
    if node["t"] not in tuple("bBhHiIlLqQfd"):
        raise ValueError(f"there is no array of {node['t']!r}")
    found: array[Any] = array(node["t"])
    found.frombytes(buffers[node["b"]])
    if node["e"] != sys.byteorder:
        found.byteswap()
    return found


def ndarray_to_json(value: Any, buffers: Buffers) -> Any:
    """A NumPy array as JSON and a buffer, without copying it if its memory has no gaps.

    Raises:
        TypeError: it is an array of objects.
    """
    if value.dtype.hasobject:
        raise TypeError("it is an array of Python objects; expected numbers, text, times or bytes")
    # An array in Fortran order is written in that order, and so loaded, which saves a copy both times.
    by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
    flat = value.reshape(-1, order="F" if by_columns else "C")
    if not flat.flags.c_contiguous:
        flat = flat.copy()  # A one-dimensional array with gaps: reshape() returned a view that has them too.
    # As bytes, since the buffer protocol has no type for dates and times.
    raw = flat.view("u1").data if value.size and value.dtype.itemsize else b""
    return {
        "$": "array",
        "d": _dtype_to_json(value.dtype),
        "s": list(value.shape),
        "o": "F" if by_columns else "C",
        "b": buffers.put(raw),
    }


def ndarray_from_json(node: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
    """The array that ``node`` describes.

    Raises:
        ValueError: its shape does not fit the number of bytes.
    """
    numpy = import_module("numpy")
    dtype = _dtype_from_json(numpy, node["d"])
    shape = tuple(node["s"])
    if not all(type(length) is int and length >= 0 for length in shape) or node["o"] not in ("C", "F"):
        raise ValueError(f"{shape!r} is not the shape of an array")
    raw = buffers[node["b"]]
    if math.prod(shape) * dtype.itemsize != raw.nbytes:
        raise ValueError(f"{raw.nbytes} bytes are not an array of shape {shape}")
    if not raw.nbytes:
        return numpy.zeros(shape, dtype, order=node["o"])
    found = numpy.frombuffer(raw, dtype)
    # Always writable, since a program goes on computing with the state that it loads. Memory that is already
    # writable is used in place.
    return (found.copy() if raw.readonly else found).reshape(shape, order=node["o"])


def scalar_to_json(value: Any, buffers: Buffers) -> Any:
    """A NumPy scalar as JSON.

    Raises:
        TypeError: it is a Python object.
    """
    if value.dtype.hasobject:
        raise TypeError("it is a NumPy scalar of Python objects; expected a number, text, time or bytes")
    return {"$": "scalar", "d": _dtype_to_json(value.dtype), "v": b64encode(value.tobytes()).decode()}


def scalar_from_json(node: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
    numpy = import_module("numpy")
    raw = b64decode(node["v"], validate=True)
    dtype = _dtype_from_json(numpy, node["d"])
    if not dtype.itemsize:
        return numpy.zeros((), dtype)[()]
    (found,) = numpy.frombuffer(raw, dtype)
    return found


def _dtype_to_json(dtype: Any) -> Any:
    if dtype.names is None:
        return dtype.str
    # For a structured dtype, dtype.str gives only its size.
    said = [list(one) for one in dtype.descr]
    if import_module("numpy").dtype([_field(one) for one in said]) != dtype:
        raise TypeError("its structure has gaps; expected one without: numpy.lib.recfunctions.repack_fields")
    return said


def _dtype_from_json(numpy: Any, said: Any) -> Any:
    dtype = numpy.dtype(said) if isinstance(said, str) else numpy.dtype([_field(one) for one in said])
    if dtype.hasobject:
        raise ValueError("an array of objects would be made of addresses")
    return dtype


def _field(said: Sequence[Any]) -> tuple[Any, ...]:
    name, form, *shape = said
    form = form if isinstance(form, str) else [_field(one) for one in form]
    return (tuple(name) if isinstance(name, list) else name, form, *(tuple(one) for one in shape))
