"""Tables of pandas, column by column, so that numbers stay raw bytes and loading guesses nothing.

Loading imports pandas only for values that are tables of pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

__all__ = ["Values", "frame_from_json", "frame_to_json", "index_from_json", "index_to_json"]
__all__ += ["missing_from_json", "missing_to_json"]
__all__ += ["series_from_json", "series_to_json", "timestamp_from_json", "timestamp_to_json"]

_MASKED = frozenset(
    f"{sign}{kind}{bits}" for sign, kind, bits in
    [(s, "Int", b) for s in ("", "U") for b in (8, 16, 32, 64)] + [("", "Float", 32), ("", "Float", 64)]
) | {"boolean"}  # fmt: skip


class Values(Protocol):
    """Encodes the parts of a value, or decodes them."""

    def __call__(self, value: Any, /) -> Any:
        """The encoded or decoded form of a value."""


def frame_to_json(value: Any, encode: Values) -> Any:
    """A DataFrame as JSON.

    Raises:
        TypeError: a column has a dtype that snapshots cannot hold.
    """
    return {
        "$": "frame",
        "c": [_column(value.iloc[:, at], encode) for at in range(value.shape[1])],
        "n": index_to_json(value.columns, encode),
        "i": index_to_json(value.index, encode),
        "a": encode(dict(value.attrs)),
    }


def frame_from_json(node: Mapping[str, Any], decode: Values) -> Any:
    """The table that ``node`` describes.

    Raises:
        ValueError: its columns differ in length.
    """
    pandas = import_module("pandas")
    index = index_from_json(node["i"], decode)
    columns = {at: _values(pandas, one, decode) for at, one in enumerate(node["c"])}
    if any(len(values) != len(index) for values in columns.values()):
        raise ValueError("a column is not as long as the table")
    made = pandas.DataFrame(columns, index=index, copy=False)
    made.columns = index_from_json(node["n"], decode)
    made.attrs = decode(node["a"])
    return made


def series_to_json(value: Any, encode: Values) -> Any:
    """A Series as JSON.

    Raises:
        TypeError: as for a frame.
    """
    column, index = _column(value, encode), index_to_json(value.index, encode)
    return {"$": "series", "c": column, "n": encode(value.name), "i": index, "a": encode(dict(value.attrs))}


def series_from_json(node: Mapping[str, Any], decode: Values) -> Any:
    """The Series that ``node`` describes. Raises ValueError if its values and index differ in length."""
    pandas = import_module("pandas")
    values, index = _values(pandas, node["c"], decode), index_from_json(node["i"], decode)
    made = pandas.Series(values, index=index, name=decode(node["n"]), copy=False)
    made.attrs = decode(node["a"])
    return made


def index_to_json(value: Any, encode: Values) -> Any:
    """An index as JSON; a RangeIndex as its three numbers only.

    Raises:
        TypeError: it has several levels.
    """
    pandas = import_module("pandas")
    name = encode(value.name) if value.nlevels == 1 else None
    if type(value) is pandas.RangeIndex:
        return {"$": "index", "r": [value.start, value.stop, value.step], "n": name}
    if value.nlevels != 1:
        raise TypeError("its index has several levels; expected one: use reset_index() before saving")
    said = {"$": "index", "c": _column(value.to_series(index=range(len(value))), encode), "n": name}
    if getattr(value, "freqstr", None):
        said["f"] = value.freqstr
    return said


def index_from_json(node: Mapping[str, Any], decode: Values) -> Any:
    pandas = import_module("pandas")
    name = decode(node["n"])
    if "r" in node:
        return pandas.RangeIndex(*node["r"], name=name)
    made = pandas.Index(_values(pandas, node["c"], decode), name=name, copy=False)
    if "f" in node:
        made.freq = node["f"]
    return made


def missing_to_json(value: Any) -> Any:
    """NaT or NA, the two values that pandas has for missing data."""
    return {"$": "missing", "v": "NaT" if value is import_module("pandas").NaT else "NA"}


def missing_from_json(node: Mapping[str, Any]) -> Any:
    return {"NaT": import_module("pandas").NaT, "NA": import_module("pandas").NA}[node["v"]]


def timestamp_to_json(value: Any, encode: Values) -> Any:
    """A Timestamp as JSON: its number of units since the epoch, the unit, and the zone.

    Raises:
        TypeError: its time zone has no name.
    """
    zone = None if value.tz is None else _zone(value.tz)
    return {
        "$": "timestamp",
        "v": int(value.asm8.astype("int64")),
        "u": value.unit,
        "z": zone,
        "f": value.fold,
    }


def timestamp_from_json(node: Mapping[str, Any], decode: Values) -> Any:
    pandas, numpy = import_module("pandas"), import_module("numpy")
    made = pandas.Timestamp(numpy.datetime64(int(node["v"]), node["u"]))
    if node["z"] is not None:
        made = made.tz_localize("UTC").tz_convert(node["z"])
    return made


def _column(series: Any, encode: Values) -> dict[str, Any]:
    """One column as JSON: its kind, and its values as arrays and lists.

    Raises:
        TypeError: its dtype cannot be restored exactly.
    """
    pandas, dtype, array = import_module("pandas"), series.dtype, series.array
    if isinstance(dtype, pandas.CategoricalDtype):
        categories = index_to_json(dtype.categories, encode)
        codes = encode(array.codes.copy())
        return {"k": "category", "v": codes, "i": categories, "o": bool(dtype.ordered)}
    if isinstance(dtype, pandas.DatetimeTZDtype):
        # In UTC, where no hour occurs twice.
        local = encode(series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
        return {"k": "zoned", "v": local, "z": _zone(dtype.tz)}
    if isinstance(dtype, pandas.StringDtype):
        missing = array.isna()
        said = [None if gone else text for text, gone in zip(array.tolist(), missing, strict=True)]
        return {"k": "string", "v": encode(said), "s": dtype.storage, "a": dtype.na_value is pandas.NA}
    if str(dtype) in _MASKED:
        missing = array.isna()
        # The values under the mask are arbitrary. With zeros there, equal tables have equal bytes.
        filled = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.type(0))
        return {"k": "masked", "d": str(dtype), "v": encode(filled), "m": encode(missing)}
    values = series.to_numpy()
    if isinstance(dtype, import_module("numpy").dtype):
        objects = dtype.kind == "O"
        return {"k": "objects" if objects else "array", "v": encode(values.tolist() if objects else values)}
    raise TypeError(
        f"it has a column of dtype {dtype}; expected a NumPy dtype, text, category or a nullable one"
    )


def _values(pandas: Any, said: Mapping[str, Any], decode: Values) -> Any:
    return _KINDS[said["k"]](pandas, said, decode)


def _category(pandas: Any, said: Mapping[str, Any], decode: Values) -> Any:
    dtype = pandas.CategoricalDtype(index_from_json(said["i"], decode), ordered=said["o"])
    return pandas.Categorical.from_codes(decode(said["v"]), dtype=dtype)


def _zoned(pandas: Any, said: Mapping[str, Any], decode: Values) -> Any:
    return pandas.DatetimeIndex(decode(said["v"])).tz_localize("UTC").tz_convert(said["z"]).array


def _string(pandas: Any, said: Mapping[str, Any], decode: Values) -> Any:
    missing = pandas.NA if said["a"] else float("nan")
    return pandas.array(decode(said["v"]), dtype=pandas.StringDtype(said["s"], na_value=missing))


def _masked(pandas: Any, said: Mapping[str, Any], decode: Values) -> Any:
    if said["d"] not in _MASKED:
        raise ValueError(f"there is no nullable dtype {said['d']!r}")
    made = pandas.array(decode(said["v"]), dtype=said["d"])
    made[decode(said["m"])] = pandas.NA
    return made


def _objects(pandas: Any, said: Mapping[str, Any], decode: Values) -> Any:
    numpy, values = import_module("numpy"), decode(said["v"])
    made = numpy.empty(len(values), dtype=object)
    # One by one: from a list of equally long lists NumPy would make an array of two dimensions.
    for at, value in enumerate(values):
        made[at] = value
    return made


_KINDS: dict[str, Callable[[Any, Mapping[str, Any], Values], Any]] = {
    "array": lambda pandas, said, decode: decode(said["v"]),
    "category": _category,
    "masked": _masked,
    "objects": _objects,
    "string": _string,
    "zoned": _zoned,
}


def _zone(zone: Any) -> str:
    pandas = import_module("pandas")
    said = str(zone)
    try:
        same = pandas.DatetimeTZDtype("ns", said).tz == pandas.DatetimeTZDtype("ns", zone).tz
    except Exception:  # pandas and its zone libraries raise various classes for an unknown name.
        same = False
    if not same:
        raise TypeError(
            f"its time zone {said!r} cannot be found again by name; expected one such as 'Europe/Berlin'"
        )
    return said
