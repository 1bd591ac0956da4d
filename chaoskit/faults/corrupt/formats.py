"""The known formats, the format of a file, and its damages by label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from chaoskit.core.errors import wrong
from chaoskit.faults.corrupt import (
    anything,
    bzip2,
    csv,
    gzip,
    json,
    jsonl,
    parquet,
    pickle,
    sqlite,
    tar,
    text,
    xz,
    yaml,
)
from chaoskit.faults.corrupt import zip as zips
from chaoskit.faults.corrupt.damage import Damage, Damages, Enumerator

OTHER = "file"
"""The format of a file of unknown format."""

BOMB = "bomb"
"""The end of the labels of small files that unpack to large ones, of at most 64 MiB."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format: how its files are recognised, and how they are damaged.

    A compressed format has ``unpacked`` and ``packed``: its content is damaged, too, and packed correctly
    again, to tell readers that trust checksums from those that trust content.
    """

    name: str
    matches: Callable[[bytes], bool]
    damages: Enumerator
    sound: Callable[[bytes], bool] | None = None
    """Returns True if a strict reader accepts the file as complete; None if the format has no such rules."""
    unpacked: Callable[[bytes], bytes] | None = None
    packed: Callable[[bytes], bytes] | None = None


def _begins(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(magics)


def _table(name: str, separator: str) -> Format:
    """Rows of fields with this between them."""
    matches, sound = (partial(one, separator=separator) for one in (csv.is_csv, csv.is_sound))
    return Format(name, matches, partial(csv.damages, separator=separator), sound)


# In the order in which they are tried: formats with magic bytes first, guessed ones last.
_KNOWN: list[Format] = [
    Format("gzip", _begins(gzip.MAGIC), gzip.damages, gzip.is_sound, gzip.unpacked, gzip.packed),
    Format("xz", _begins(xz.MAGIC), xz.damages, xz.is_sound, xz.unpacked, xz.packed),
    Format("bzip2", _begins(bzip2.MAGIC), bzip2.damages, bzip2.is_sound, bzip2.unpacked, bzip2.packed),
    Format("zip", _begins(*zips.MAGICS), zips.damages, zips.is_sound),
    Format("sqlite", _begins(sqlite.MAGIC), sqlite.damages, sqlite.is_sound),
    Format("parquet", parquet.is_parquet, parquet.damages, parquet.is_sound),
    Format("tar", tar.is_tar, tar.damages, tar.is_sound),
    Format("pickle", pickle.is_pickle, pickle.damages, pickle.is_sound),
    Format("json", json.is_json, json.damages, json.is_sound),
    Format("jsonl", jsonl.is_jsonl, jsonl.damages, jsonl.is_sound),
    *(_table(name, separator) for name, separator in (("csv", ","), ("tsv", "\t"), ("ssv", ";"))),
    Format("yaml", yaml.is_yaml, yaml.damages, yaml.is_sound),
    Format("text", text.is_text, text.damages),
]


def register(
    name: str,
    matches: Callable[[bytes], bool],
    damages: Enumerator,
    sound: Callable[[bytes], bool] | None = None,
) -> Callable[[], None]:
    """Register a project's own format; it is tried before the built-in ones.

    Args:
        name: lower-case letters, digits and ``-``; it begins the labels. matches: returns True if a file with
        this content has the format. damages: yields the damages of such a file. sound: returns True if a
        strict reader accepts a file as complete, for example by its checksum. Without it no damage counts as
        detectable, so ``faults.default()`` has none of this format.

    Returns:
        A function that unregisters the format.

    Raises:
        UsageError: for an invalid name, and for one that is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise wrong("format", name, "a name of lower-case letters, digits and '-'")
    if name in names():
        raise wrong("format", name, f"a name that is not taken; there are {', '.join(names())}")
    made = Format(name, matches, damages, sound)
    # Before the built-in ones: a format of a project is often one of these with a convention on top.
    _KNOWN.insert(0, made)
    chosen.cache_clear()

    def take_back() -> None:
        _KNOWN.remove(made)
        chosen.cache_clear()

    return take_back


def names() -> tuple[str, ...]:
    """The names of all known formats."""
    return (*(known.name for known in _KNOWN), OTHER)


def format_of(data: bytes) -> str:
    """The name of the format of ``data``."""
    found = _found(data)
    return OTHER if found is None else found.name


def _found(data: bytes) -> Format | None:
    return next((known for known in _KNOWN if known.matches(data)), None)


def damages(data: bytes) -> Iterator[tuple[str, Damage]]:
    """Every damage of a file by its label, each label once: ``zip.entry1.flip.crc``, ``file.cut.half``.

    Damages of a compressed file's content follow a slash: ``gzip/csv.row1.cut``.
    """
    seen: set[str] = set()
    for label, damage in _all(data, inner=True):
        if label not in seen:
            seen.add(label)
            yield label, damage


def _all(data: bytes, *, inner: bool) -> Iterator[tuple[str, Damage]]:
    known = _found(data)
    if known is not None:
        yield from ((f"{known.name}.{damage.name}", damage) for damage in _of(known.damages, data))
        if inner and known.unpacked and known.packed:
            content = _content(known.unpacked, data)
            # One level only: a second one would multiply the cases and test the same reader.
            for label, damage in () if content is None else _all(content, inner=False):
                yield f"{known.name}/{label}", replace(damage, make=_wrapped(known.packed, damage.make))
    # Last: the structures of a format say more than a cut at a round size.
    yield from ((f"{OTHER}.{damage.name}", damage) for damage in _of(anything.damages, data))


def _of(enumerate_: Enumerator, data: bytes) -> Damages:
    """Damages that change something, until the enumerator meets content that breaks its format."""
    try:
        yield from (damage for damage in enumerate_(data) if damage.lazy or damage.make() != data)
    except Exception:  # A file that is damaged already has fewer structures to damage.
        return


def _content(unpacked: Callable[[bytes], bytes], data: bytes) -> bytes | None:
    try:
        return unpacked(data)
    except Exception:  # Damaged already: zlib, lzma and bz2 each raise a different class for that.
        return None


def _wrapped(packed: Callable[[bytes], bytes], make: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: packed(make())


# Needed again for each case of a file. Few entries, since the contents are kept with the results.
@lru_cache(maxsize=8)
def chosen(data: bytes, limit: int | None = None, *, detectable: bool = False) -> tuple[str, ...]:
    """The labels of at most ``limit`` damages: one of each kind of structure first, then the others.

    ``detectable``: only damages that the rules of the format reveal (:attr:`Format.sound`).
    """
    first: dict[tuple[str, str, str], str] = {}
    rest = []
    found = _told_by_the_format(data) if detectable else damages(data)
    for label, damage in found:
        key = (label.removesuffix(damage.name), *damage.alike)
        if key in first:
            rest.append(label)
        else:
            first[key] = label
    return (*first.values(), *rest)[:limit]


def _told_by_the_format(data: bytes, *, inner: bool = True) -> Iterator[tuple[str, Damage]]:
    known = _found(data)
    # A file that is not sound before it is damaged shows nothing.
    if known is None or not _is_sound(known, data):
        return
    for label, damage in _all(data, inner=False):
        # A bomb is well-formed, and making one just to check takes longer than all others.
        if not (damage.lazy and label.endswith(BOMB)) and not _is_sound(known, damage.make()):
            yield label, damage
    content = _content(known.unpacked, data) if inner and known.unpacked else None
    if content is not None and known.packed:
        # Judged before they are packed again, since packing takes the time.
        for label, damage in _told_by_the_format(content, inner=False):
            yield f"{known.name}/{label}", replace(damage, make=_wrapped(known.packed, damage.make))


def _is_sound(known: Format, data: bytes) -> bool:
    """Return True if a strict reader accepts it, or if the format has no rules that could refuse it."""
    try:
        return known.sound is None or known.sound(data)
    except Exception:  # Whatever it raises, the reader has noticed.
        return False


def damaged(data: bytes, label: str) -> bytes:
    """The file under one damage.

    Raises:
        UsageError: if the file has no damage of that name; the message lists similar ones.
    """
    known = []
    # One after the other: all damages of a large file at once would need too much memory.
    for name, damage in damages(data):
        if name == label:
            return damage.make()
        known.append(name)
    kind = label.rpartition(".")[0]
    near = [one for one in known if one.startswith(kind)][:5] or known[:5]
    raise wrong("damage", label, f"a damage of this {format_of(data)} file, such as {', '.join(near)}")
