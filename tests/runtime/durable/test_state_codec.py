"""State comes back as it was, or not at all: every type, every damaged byte, and nothing is executed."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
import pickle
import random
import subprocess
import sys
import uuid
import zoneinfo
from array import array
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from budgets import tried
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.core.errors import ChaoskitError, UsageError
from chaoskit.runtime import RecordCorrupt, SignedPickle, StateCodec, StoreTooNew
from chaoskit.runtime.durable.snapshots import checksums, container, encoding
from chaoskit.runtime.failures.taxonomy import CheckpointError, ConfigurationError, SecurityError

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

CODEC = StateCodec()
KEY = b"k" * 32


def again(state: Any, codec: StateCodec = CODEC) -> Any:
    return codec.loads(codec.dumps(state))


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, all the way down; NaN is NaN, and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one == other and str(one) == str(other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) for a, b in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=400),
    st.decimals(allow_nan=False), st.dates(), st.times(), st.timedeltas(), st.uuids(),
    st.complex_numbers(allow_nan=False),
    st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.timezones()),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.tuples(st.integers(), st.text()))
STATES = st.recursive(
    SCALARS,
    lambda parts: st.one_of(
        st.lists(parts),
        st.lists(parts).map(tuple),
        st.dictionaries(KEYS, parts),
        st.dictionaries(st.text(), parts),
        st.lists(st.fixed_dictionaries({"a": parts, "b": parts}), min_size=4),
        st.lists(st.lists(parts), min_size=4),
    ),
    max_leaves=30,
)


@given(STATES)
@settings(max_examples=tried(300), deadline=None)
def test_every_state_comes_back_the_same(state: Any) -> None:
    """Values and types, however they are nested; and so by the precise walk."""
    assert same(again(state), state)
    assert same(CODEC.loads(b"".join(CODEC._precisely(state, {}))), state)


@pytest.mark.parametrize(
    "state",
    [
        (1, (2, [3, (4,)])),
        {1: "a", "1": "b", False: "c", None: "d", 2.5: "e", b"f": "g", (1, "x"): "h"},
        {"$": "float", "v": "nan"},
        [{"$": "tuple"}] * 1,
        [math.nan, math.inf, -math.inf, -0.0, 0.1 + 0.2, 5e-324],
        [1.0, 2, 3.0, True, None],
        [2**53, 2**53 + 1, -(2**53) - 1, 10**6000],
        [2**60] * 5,
        {"", "a", "\0", "é\U0001f600"},
        frozenset({frozenset({1}), (1, 2)}),
        [b"", b"\0\xff" * 300, bytearray(b"x" * 300), bytearray()],
        [[], [[]], [[], []], [[1], [2.5], ["x"], []]],
        [{}, {}, {}, {}],
        [{"a": 1}, {"b": 1}, {"a": 1}, {"b": 1}],
        [{"a": 1, "b": 2}, {"b": 1, "a": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 4}],
        [{"a": [1.5, 2.5, 3.5, 4.5], "b": {"c": (i,)}} for i in range(10)],
        Decimal("1.2300"),
        [Decimal("NaN").is_nan(), Decimal("-Infinity"), Decimal("1E+999999")],
        uuid.UUID(int=7),
        Path("a/b"),
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
        dt.time(1, 2, 3, 4, tzinfo=dt.UTC),
        dt.timedelta(days=-1, microseconds=1),
        array("d", [1.5, math.inf]),
        array("q"),
        array("B", b"xyz"),
        3 + 4j,
    ],
    ids=range(28),
)  # fmt: skip
def test_what_json_would_lose_comes_back(state: Any) -> None:
    """Tuples, keys other than text, NaN, large integers, bytes, sets, times, and dictionaries with a tag."""
    assert same(again(state), state)


def test_a_fold_comes_back() -> None:
    """The second of two equal hours in autumn is not taken for the first: datetimes compare without it."""
    second = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    assert again(second).fold == 1
    assert again(second).utcoffset() == dt.timedelta(hours=1)


def test_equal_sets_have_equal_bytes() -> None:
    """Whatever the order in which their elements were put in."""
    words = [str(number) for number in range(100)]
    assert CODEC.dumps(set(words)) == CODEC.dumps({*words[50:], *words[:50]})


# --- what is not known --------------------------------------------------------------------------------


class Subclass(dict[str, int]):
    """Holds more than a dictionary, perhaps."""


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("state", "way"),
    [
        ({"pop": [{"id": 1}, {"id": object()}]}, "state['pop'][1]['id']"),
        ([[1], [2], [3], [object()]], "state[3][0]"),
        ([{"a": 1}, {"a": 2}, {"a": 3}, {"a": {1j: object()}}], "state[3]['a'][1j]"),
        ({"x": (1, {object()})}, "state['x'][1][0]"),
        (Subclass(a=1), "state"),
        ({"p": Point(1, 2)}, "state['p']"),
        ({"t": collections.OrderedDict()}, "state['t']"),
        (["a", "b", "c", "\ud800"], "state[3]"),
        ({"k": {"\udfff": 1}}, "state['k']key '\\udfff'"),
        ({"a": np.array([object()])}, "state['a']"),
        ({"a": np.ma.masked_array([1], [True])}, "state['a']"),
        ([array("w" if sys.version_info >= (3, 13) else "u", "x")], "state[0]"),
        ({"s": sys}, "state['s']"),
        ([print], "state[0]"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(state: Any, way: str) -> None:
    """A loud error that says where in the state, and what to do; nothing comes back as something else."""
    with pytest.raises(CheckpointError) as caught:
        CODEC.dumps(state)
    assert caught.value.context["path"] == way
    assert str(caught.value).startswith(f"{way} cannot be saved: ")


def circle() -> list[Any]:
    state: list[Any] = [1]
    state.append({"again": state})
    return state


def wide_circle() -> list[Any]:
    state: list[Any] = []
    state += [state, state, state, state]
    return state


def circle_of_lists() -> list[Any]:
    one: list[Any] = []
    other: list[Any] = []
    one += [other, [1], [2], [3]]
    other += [one, [4], [5], [6]]
    return one


def circle_of_dicts() -> list[Any]:
    state: list[Any] = []
    state += [{"a": state, "b": number} for number in range(4)]
    return state


@pytest.mark.parametrize("state", [circle, wide_circle, circle_of_lists, circle_of_dicts])
def test_a_state_that_contains_itself_is_refused(state: Any) -> None:
    """Quickly, however it is linked: taking lists together must not multiply it."""
    with pytest.raises(CheckpointError, match="it contains itself"):
        CODEC.dumps(state())


def test_a_state_that_is_too_deep_is_refused() -> None:
    """Before Python's own limit is met, in any form; 90 levels are fine."""

    def deep(levels: int, wide: int) -> Any:
        state: Any = 1
        for _ in range(levels):
            state = [state, *([] for _ in range(wide))]
        return state

    for wide in (0, 3):
        assert again(deep(90, wide)) == deep(90, wide)
        with pytest.raises(CheckpointError, match="more than 100 levels deep"):
            CODEC.dumps(deep(150, wide))


def test_an_object_at_several_places_becomes_several() -> None:
    """Equal afterwards, and not one: the documents say so."""
    shared = [1, 2]
    found = again([shared, shared, shared, shared])
    assert found == [[1, 2]] * 4
    assert found[0] is not found[1]


# --- NumPy and pandas ---------------------------------------------------------------------------------


ARRAYS = {
    "floats": np.arange(12.0).reshape(3, 4),
    "by columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "every other": np.arange(24)[::2],
    "turned": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "no dimension": np.array(7.5),
    "nothing": np.zeros((0, 3), "f4"),
    "other byte order": np.arange(5, dtype=">i4"),
    "bool": np.array([True, False]),
    "half": np.array([1.5, np.nan], "f2"),
    "complex": np.array([1 + 2j]),
    "text": np.array(["a", "", "éé"]),
    "empty text": np.array(["", ""], "U0"),
    "bytes": np.array([b"a", b"\0b"]),
    "times": np.array(["2024-01-01", "NaT"], "M8[ns]"),
    "durations": np.array([1, 2], "m8[s]"),
    "structure": np.array([(1, 2.5, [1, 2])], [("a", "<i4"), ("b", "f8"), ("c", "u1", (2,))]),
    "nested structure": np.zeros(2, [("a", [("x", "i4"), ("y", "S3")]), ("b", "f8")]),
    "void": np.zeros(3, "V5"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_the_same(name: str) -> None:
    """Values, type, shape and layout; and they can be written, from bytes as from memory."""
    found = again({"a": ARRAYS[name]})["a"]
    data = bytearray(CODEC.dumps(ARRAYS[name]))
    for one in (found, CODEC.loads(data)):
        assert (one.dtype, one.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
        assert one.tobytes() == ARRAYS[name].tobytes()
        assert one.flags.writeable
    if name == "by columns":
        assert not found.flags.c_contiguous


@pytest.mark.parametrize(
    "value", [np.float64(1.5), np.int8(-3), np.bool_(True), np.str_("é"), np.datetime64("2024", "Y")]
)
def test_scalars_come_back_the_same(value: Any) -> None:
    """They keep their type, which arithmetic depends on."""
    found = again([value])[0]
    assert type(found) is type(value)
    assert found == value


def test_a_structure_with_gaps_is_refused() -> None:
    """Its description in NumPy's own words is not the same type again."""
    with pytest.raises(CheckpointError, match="repack_fields"):
        CODEC.dumps(np.zeros(1, np.dtype([("a", "i1"), ("b", "f8")], align=True)))


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": [1.5, math.nan, 3.5],
            "count": [1, 2, 3],
            "flag": [True, False, True],
            "text": ["a", None, "é"],
            "old text": pd.array(["a", pd.NA, "c"], dtype="string"),
            "when": pd.date_range("2024-03-30", periods=3, freq="D"),
            "zoned": pd.date_range("2024-10-27", periods=3, freq="h", tz="Europe/Berlin"),
            "utc": pd.date_range("2024-10-27", periods=3, freq="h", tz="UTC"),
            "took": pd.to_timedelta([1, 2, None], unit="s"),
            "kind": pd.Categorical(["x", None, "y"], categories=["y", "x"], ordered=True),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "perhaps": pd.array([True, None, False], dtype="boolean"),
            "part": pd.array([1.5, None, 3.5], dtype="Float32"),
            "objects": pd.Series([(1, 2), [3], {"a": pd.NaT}], dtype=object),
        }
    )


INDEXES = {
    "range": pd.RangeIndex(1, 7, 2, name="n"),
    "numbers": pd.Index([3, 1, 2], name=("a", 1)),
    "text": pd.Index(["a", "b", "a"]),
    "times": pd.date_range("2024-01-01", periods=3, freq="D", tz="America/New_York", name="t"),
    "kinds": pd.CategoricalIndex(["a", "b", "a"]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_tables_come_back_the_same(name: str) -> None:
    """Columns of every kind, under every kind of index, with names and attributes."""
    table = frame().set_index(INDEXES[name])
    table.attrs = {"source": ("a", 1)}
    found = again({"t": table})["t"]
    pd.testing.assert_frame_equal(found, table)
    assert found.attrs == table.attrs
    for column in table:
        pd.testing.assert_series_equal(again(table[column]), table[column])


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
        pd.DataFrame([[1, 2.5]], columns=pd.Index([1, 2], name="c")),
    ],
    ids=range(5),
)
def test_odd_tables_come_back_the_same(table: pd.DataFrame) -> None:
    """Empty ones, and those with equal or numbered columns."""
    pd.testing.assert_frame_equal(again(table), table)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"p": pd.period_range("2024", periods=2, freq="Y")}),
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])),
        pd.DataFrame({"a": pd.Series([object()])}),
    ],
    ids=["period", "levels", "object"],
)
def test_other_tables_are_refused(table: pd.DataFrame) -> None:
    """With what was expected, and never as something else."""
    with pytest.raises(CheckpointError, match=r"state.* cannot be saved"):
        CODEC.dumps(table)


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2024-10-27 02:30", tz="UTC"),
        pd.Timestamp("2024-01-01 00:00:00.000000001"),
        pd.NaT,
        pd.NA,
    ],
)
def test_moments_of_pandas_come_back(value: Any) -> None:
    """With their nanoseconds and their zone; what is missing stays missing."""
    found = again([value])[0]
    assert type(found) is type(value)
    assert found is value or found == value


def test_nothing_is_imported_to_save_plain_state() -> None:
    """A program without NumPy and pandas never pays for them."""
    code = (
        "import sys; from chaoskit.runtime import StateCodec\n"
        "c = StateCodec(); c.loads(c.dumps([{'a': (1, 2.5)}] * 5))\n"
        "assert not {'numpy', 'pandas', 'xxhash'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved with NumPy says that NumPy is needed."""
    data = CODEC.dumps(np.zeros(1))
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ConfigurationError, match="'numpy'"):
        CODEC.loads(data)


# --- classes ------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = object()
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Job:
    name: str
    colours: tuple[Colour, ...] = ()
    score: float = dataclasses.field(default=0.0, compare=False)
    seen: int = dataclasses.field(default=0, init=False)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def test_registered_classes_come_back() -> None:
    """Dataclasses by their fields, enums by name, others by their functions; at any depth."""
    codec = StateCodec()
    assert codec.register(Job) is Job
    codec.register(Colour)
    codec.register(Money, "money/1", encode=lambda m: m.cents, decode=Money)
    job = Job("a", (Colour.RED, Colour.BLUE), 1.5)
    object.__setattr__(job, "seen", 3)
    found = again([{"j": job}, Money(5)], codec)
    assert found[0]["j"] == job
    assert (found[0]["j"].seen, found[0]["j"].colours[0]) == (3, Colour.RED)
    assert found[1].cents == 5


def test_a_new_field_gets_its_default() -> None:
    """A snapshot from before the field was there loads; one with a field that is gone does not."""

    @dataclasses.dataclass
    class Before:
        a: int

    @dataclasses.dataclass
    class After:
        a: int
        b: str = "new"

    before, after = StateCodec(), StateCodec()
    before.register(Before, "job")
    after.register(After, "job")
    assert after.loads(before.dumps(Before(1))) == After(1, "new")
    with pytest.raises(RecordCorrupt, match="its state cannot be built"):
        before.loads(after.dumps(After(1)))


def test_a_class_that_is_not_registered_is_refused() -> None:
    """Both ways; no name in a snapshot leads to an import."""
    with pytest.raises(CheckpointError, match=r"codec\.register"):
        CODEC.dumps(Job("a"))
    codec = StateCodec()
    codec.register(Job)
    with pytest.raises(ConfigurationError, match="holds a 'Job', not registered here"):
        CODEC.loads(codec.dumps(Job("a")))


async def make_money(cents: int) -> Money:
    return Money(cents)


def test_registering_is_checked() -> None:
    """What cannot work is refused at once."""
    codec = StateCodec()
    codec.register(Job)
    codec.register(Job)
    with pytest.raises(UsageError, match="a dataclass or an enum"):
        codec.register(Money)
    with pytest.raises(UsageError, match="both or neither"):
        codec.register(Money, encode=str)
    with pytest.raises(UsageError, match="decode"):
        codec.register(Money, encode=str, decode=make_money)
    with pytest.raises(UsageError, match="a name that"):
        codec.register(Colour, "Job")
    with pytest.raises(UsageError, match="a class"):
        codec.register(Job("a"))  # type: ignore[type-var]


def test_a_failing_encoder_is_named() -> None:
    """The error of the user's function is the cause, and the way is in the message."""
    codec = StateCodec()
    codec.register(Money, encode=lambda money: 1 / 0, decode=Money)
    with pytest.raises(
        CheckpointError, match=r"state\[0\] cannot be saved: encode of 'Money' failed"
    ) as caught:
        codec.dumps([Money(1)])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# --- damage -------------------------------------------------------------------------------------------

STATE = {"a": [1.5, 2.5, 3.5, 4.5], "b": (1, {"x": b"y" * 300}), "n": np.arange(6)}


@pytest.mark.parametrize("checksum", ["sha256", "xxh3"])
def test_every_flipped_bit_is_seen(checksum: Any) -> None:
    """Wherever it is, in the padding too."""
    codec = StateCodec(checksum=checksum)
    content = codec.dumps(STATE)
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        with pytest.raises((RecordCorrupt, StoreTooNew)):
            codec.loads(damaged)


def test_every_cut_is_seen() -> None:
    """A file that ends too early, or goes on too long, is refused."""
    content = CODEC.dumps(STATE)
    for length in range(len(content)):
        with pytest.raises(RecordCorrupt):
            CODEC.loads(content[:length])
    with pytest.raises(RecordCorrupt):
        CODEC.loads(content + b"\0")


def test_without_its_checksum_damage_would_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted twin: a flipped bit in a buffer then is a wrong number, in silence."""
    content = bytearray(CODEC.dumps(np.zeros(100)))
    content[-40] ^= 1
    with pytest.raises(RecordCorrupt):
        CODEC.loads(content)
    monkeypatch.setattr(container, "compare_digest", lambda one, other: True)
    assert CODEC.loads(content).any()


def forged(state: Any, buffers: list[bytes]) -> bytes:
    """A snapshot whose checksum is right and whose content is not."""
    return b"".join(container.pack(state, {}, [b"", *buffers], "sha256"))


NODES = [
    "array",
    "dict",
    "floats",
    "frame",
    "lists",
    "numbers",
    "object",
    "pickle",
    "raw",
    "records",
    "scalar",
]
NODES += [
    "series",
    "tuple",
    "set",
    "timestamp",
    "datetime",
    "int",
    "path",
    "uuid",
    "no such tag",
    "missing",
    None,
]


def test_a_forged_state_is_an_error_and_nothing_else() -> None:
    """Whatever stands in it: a value, or one of the few errors; no crash, and no other exception."""
    chance = random.Random(7)
    kept = [
        3,
        "x",
        None,
        [],
        {},
        -1,
        10**9,
        [1, 2],
        "float64",
        "O",
        "|O",
        [["a", "O"]],
        [10**6, 10**6],
        "i8,O",
        0,
    ]

    def node(depth: int) -> Any:
        if depth == 0 or chance.random() < 0.4:
            return chance.choice(kept)
        if chance.random() < 0.2:
            return [node(depth - 1) for _ in range(chance.randrange(4))]
        made: dict[str, Any] = {"$": chance.choice(NODES)}
        for key in chance.sample("vbdsotkn iacerzfu", chance.randrange(9)):
            made[key] = node(depth - 1)
        return made

    for _ in range(5000):
        try:
            CODEC.loads(forged(node(3), [b"12345678"]))
        except ChaoskitError:
            pass


def test_arrays_of_objects_cannot_be_forged() -> None:
    """The bytes of such an array are addresses, and reading them would be the end of the process."""
    for said in ("O", "|O", [["a", "O"]], [["a", [["b", "O"]]]]):
        with pytest.raises(RecordCorrupt):
            CODEC.loads(forged({"$": "array", "d": said, "s": [1], "o": "C", "b": 1}, [b"A" * 8]))


def test_a_deep_state_cannot_be_forged() -> None:
    """Python's limit ends in an error of ours."""
    state: Any = 1
    for _ in range(300):
        state = {"$": "tuple", "v": [state]}
    text = b"[" * 200_000
    envelope = container._json({"checksum": "sha256", "state": len(text), "buffers": [0], "meta": {}})
    prefix = container._PREFIX.pack(container._MAGIC, 1, container.crc32(envelope), len(envelope))
    body = prefix + envelope + text
    body += bytes(-len(body) % 64)
    with pytest.raises(RecordCorrupt):
        CODEC.loads(body + checksums.digest_of("sha256", [body]))


def test_a_newer_format_is_refused_by_name() -> None:
    """It is not taken for damage, since a newer version can read it."""
    content = bytearray(CODEC.dumps(1))
    content[8] = 2
    with pytest.raises(StoreTooNew, match="has format 2; expected 1 or less"):
        CODEC.loads(content)


def test_another_checksum_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without xxhash neither saving nor loading goes on without a check."""
    content = StateCodec(checksum="xxh3").dumps(1)
    assert CODEC.loads(content) == 1
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(ConfigurationError, match="needs the package xxhash"):
        CODEC.loads(content)
    with pytest.raises(ConfigurationError, match="needs the package xxhash"):
        StateCodec(checksum="xxh3")
    with pytest.raises(UsageError, match="checksum is 'md5'"):
        StateCodec(checksum="md5")  # type: ignore[arg-type]


# --- pickles ------------------------------------------------------------------------------------------


HAPPENED: list[str] = []


def note(what: str) -> None:
    HAPPENED.append(what)


class Executes:
    """Unpickling it would be seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (note, ("now",))


def test_pickles_are_only_made_when_asked_for() -> None:
    """The default codec refuses what the other one signs; both ways."""
    codec = StateCodec(pickle=SignedPickle(KEY))
    state = {"r": random.Random(3), "d": collections.OrderedDict(a=1), "plain": (1,)}
    found = again(state, codec)
    assert found["r"].random() == random.Random(3).random()
    assert found["d"] == state["d"]
    with pytest.raises(CheckpointError):
        CODEC.dumps(state)
    with pytest.raises(ConfigurationError, match="holds a pickle"):
        CODEC.loads(codec.dumps(state))


def test_nothing_is_unpickled_before_its_signature_was_checked() -> None:
    """Neither a pickle by another key, nor one that was changed, nor one without."""
    codec = StateCodec(pickle=SignedPickle(KEY))
    HAPPENED.clear()
    evil = pickle.dumps(Executes())
    for buffer in (evil, b"\0" * 32 + evil, SignedPickle(b"x" * 32).dumps(Executes()), b"", evil[:10]):
        with pytest.raises(SecurityError, match="nothing of it was unpickled"):
            codec.loads(forged({"$": "pickle", "b": 1}, [buffer]))
    assert HAPPENED == []
    codec.loads(forged({"$": "pickle", "b": 1}, [SignedPickle(KEY).dumps(Executes())]))
    assert HAPPENED == ["now"]


@pytest.mark.parametrize("key", [b"short", "x" * 32, None, b"k" * 31])
def test_a_weak_key_is_refused(key: Any) -> None:
    """Without showing it."""
    with pytest.raises(UsageError, match="at least 32 bytes") as caught:
        SignedPickle(key)
    assert "xxx" not in str(caught.value)
    assert "kkk" not in str(caught.value)
    assert "kkk" not in repr(SignedPickle(KEY))


def test_loading_executes_nothing_of_a_state() -> None:
    """In a process in which every import and every execution of code is counted."""
    code = (
        "import sys, datetime, decimal, base64, json.decoder, zoneinfo\n"
        "from chaoskit.runtime import StateCodec\n"
        "codec = StateCodec(); data = sys.stdin.buffer.read(); codec.loads(codec.dumps([(1, 2.5)] * 4))\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append(event))\n"
        "codec.loads(data)\n"
        "bad = {'import', 'exec', 'compile', 'open', 'pickle.find_class', 'os.system', 'subprocess.Popen'}\n"
        "assert not bad & set(seen), seen"
    )
    state = [(1, 2.5), {"a": b"x"}, {1, 2}, Decimal(1), dt.date(2024, 1, 1), [{"a": [1.0]}] * 9]
    subprocess.run([sys.executable, "-c", code], input=CODEC.dumps(state), check=True)


def test_taking_together_is_what_makes_it_quick() -> None:
    """500 dictionaries are a handful of nodes: the tree does not grow with the list."""
    state = [{"id": i, "x": [i * 0.1] * 10, "ok": True} for i in range(500)]
    steps: list[Any] = []

    class Counting(encoding.Encoder):
        def __call__(self, value: Any) -> Any:
            steps.append(value)
            return super().__call__(value)

    Counting(CODEC._registry, None)(state)
    assert len(steps) < 10
