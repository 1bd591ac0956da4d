"""Archives that are damaged or hostile, made here: each with a label and, where it is known, its right end.

``refused`` must raise, ``whole`` must unpack to exactly :data:`CONTENT`, ``either`` may do one of both but
nothing else: a flipped bit in the data of a plain tar is seen by no checksum.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

CONTENT = {
    "a.txt": b"alpha\n" * 20,
    "d/b.bin": bytes(range(256)) * 9,
    "d/e/c.csv": b"x,y\n1,2\n",
    "empty": b"",
}

End = Literal["refused", "whole", "either"]


@dataclass(frozen=True)
class Sample:
    label: str
    data: bytes
    end: End


def plain_tar(format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def plain_zip(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in CONTENT.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def zstd_module() -> Any:
    """What compresses with zstd here: Python 3.14's module, or its backport; None if there is neither."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


ZSTD = zstd_module()

PACKED: dict[str, bytes] = {
    "tar": plain_tar(),
    "tar.gnu": plain_tar(tarfile.GNU_FORMAT),
    "tar.ustar": plain_tar(tarfile.USTAR_FORMAT),
    "tar.gz": gzip.compress(plain_tar(), mtime=0),
    "tar.bz2": bz2.compress(plain_tar()),
    "tar.xz": lzma.compress(plain_tar()),
    "zip": plain_zip(),
    "zip.stored": plain_zip(zipfile.ZIP_STORED),
    "zip.bzip2": plain_zip(zipfile.ZIP_BZIP2),
    **({"tar.zst": ZSTD.compress(plain_tar())} if ZSTD else {}),
}


def one_member(change: Callable[[tarfile.TarInfo], None], data: bytes = b"") -> bytes:
    """A tar of one good member and one that ``change`` has made hostile."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        good = tarfile.TarInfo("good")
        good.size = 3
        tar.addfile(good, io.BytesIO(b"yes"))
        bad = tarfile.TarInfo("bad")
        bad.size = len(data)
        change(bad)
        tar.addfile(bad, io.BytesIO(data))
    return out.getvalue()


def _set(**values: object) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        for name, value in values.items():
            setattr(info, name, value)

    return change


NAMES = (
    *("../x", "a/../../x", "/etc/x", "//x", "a//b", "a/./b", "..", "C:x", "C:\\x", "a\\b", "a:stream", "nul"),
    *(
        "con.txt",
        "aux",
        "com1",
        "COM9.log",
        "lpt2",
        "dot.",
        "space ",
        "tab\tname",
        "esc\x1bname",
        "q?",
        "st*r",
    ),
    *("x/" * 70 + "deep", "n" * 256, "new\nline", "nul\0byte", "\udcff", "a<b", 'a"b', "a|b", " /x/.. /y"),
)


def hostile_tars() -> Iterator[tuple[str, bytes]]:
    for name in NAMES:
        with_name = _set(name=name)
        try:
            yield f"name {name[:20]!r}", one_member(with_name, b"evil")
        except (UnicodeError, ValueError):
            continue
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, b"9"):
        yield f"type {kind!r}", one_member(_set(type=kind))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        for to in ("good", "/etc/passwd", "../outside", "a/../../x", "missing", ".", ""):
            yield f"link {kind!r} to {to!r}", one_member(_set(type=kind, linkname=to))
    yield "twice", one_member(_set(name="good"), b"no!")
    yield "twice in another case", one_member(_set(name="GOOD"), b"no!")
    yield "file as directory", one_member(_set(name="good/x"), b"no!")
    yield "directory as file", one_member(_set(name="good", type=tarfile.DIRTYPE))
    yield "root is a file", one_member(_set(name="."), b"no!")
    yield "composed twice", _composed()
    yield "path longer than any", one_member(_set(name="/".join(["n" * 250] * 20)), b"no!")
    yield "data after the end", PACKED["tar"] + PACKED["tar"]
    yield "no end mark", PACKED["tar.ustar"].rstrip(b"\0") + b"\0" * 100
    yield "negative size", _resized(b"-0000000001\0")
    yield "size of base 256", _resized(b"\x80" + b"\xff" * 11)
    yield "pax of 3 MB", _pax({"comment": "x" * 3_000_000})
    yield (
        "pax sparse",
        _pax({"GNU.sparse.size": "8589934592", "GNU.sparse.map": "0,1"}),
    )


def _composed() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("é", "e\u0301"):
            tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


def _resized(size: bytes) -> bytes:
    data = bytearray(PACKED["tar.ustar"])
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def _pax(headers: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("good")
        info.pax_headers = headers
        tar.addfile(info)
    return out.getvalue()


def hostile_zips() -> Iterator[tuple[str, bytes]]:
    for name in NAMES:
        try:
            yield f"name {name[:20]!r}", _zip_of(name, b"evil")
        except (UnicodeError, ValueError):
            continue
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        yield f"type {kind:o}", _zip_of("bad", b"/etc/passwd", kind | 0o777)
    good = PACKED["zip"]
    yield "prefix", b"PK\x03\x04 nothing" + good
    yield (
        "encrypted",
        good.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"),
    )
    yield "lzma", plain_zip(zipfile.ZIP_LZMA)
    yield "overlap", _overlapping()
    yield "twice", _twice()
    yield "data behind the last record", good + b"garbage"
    yield "zip behind zip", good + good
    for count in (0, 1, 5, 0xFFFF):
        yield f"last record counts {count}", _counted(good, count)
    yield "last record has no directory", _counted(good, 4, size=0)
    yield "last record lists nothing", _counted(good, 0, size=0)
    yield "directory with data", _zip_of("d/", b"not to be lost")
    yield "bomb", _zip_of("zeroes", b"\0" * 30_000_000)
    yield "gzip bomb", gzip.compress(one_member(_set(name="zeroes"), b"\0" * 30_000_000))
    yield "bz2 bomb", bz2.compress(one_member(_set(name="zeroes"), b"\0" * 30_000_000))
    yield "xz bomb", lzma.compress(one_member(_set(name="zeroes"), b"\0" * 30_000_000))
    yield "xz with a dictionary of 1 GiB", _greedy_xz()
    yield "old lzma", lzma.compress(PACKED["tar"], lzma.FORMAT_ALONE)
    yield "gzip and garbage", PACKED["tar.gz"] + b"garbage"
    yield "bz2 and garbage", PACKED["tar.bz2"] + b"garbage"
    if ZSTD:
        yield from hostile_zstd()
    yield "extended header bomb", gzip.compress(_pax({"comment": "\0" * 40_000_000}))
    yield from (("empty", b""), ("text", b"hello"), ("zip's end alone", b"PK\x05\x06"))


def hostile_zstd() -> Iterator[tuple[str, bytes]]:
    yield "zstd bomb", ZSTD.compress(one_member(_set(name="zeroes"), b"\0" * 30_000_000))
    yield "zstd and garbage", PACKED["tar.zst"] + b"garbage"
    yield "zstd with a window of 1 GiB", greedy_zstd()
    checked = ZSTD.compress(plain_tar(), options={ZSTD.CompressionParameter.checksum_flag: 1})
    yield "zstd with a wrong checksum", checked[:-1] + bytes([checked[-1] ^ 1])


def greedy_zstd() -> bytes:
    """A frame that asks for a window of 1 GiB (RFC 8878, 3.1.1.1.2), as ``zstd --long=30`` writes."""
    # No size of the content: with it, a small content makes a small window.
    return b"\x28\xb5\x2f\xfd\x00\xa0" + b"\x01\x00\x00"


def _counted(data: bytes, count: int, size: int | None = None) -> bytes:
    """A zip whose last record says another number of members, or another size of its directory."""
    at = data.rindex(b"PK\x05\x06")
    kept = struct.unpack_from("<L", data, at + 12)[0] if size is None else size
    return data[: at + 8] + struct.pack("<2HL", count, count, kept) + data[at + 16 :]


def _zip_of(name: str, data: bytes, mode: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("good"), b"yes")
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.external_attr = mode << 16
        archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _overlapping() -> bytes:
    """Two names of the directory for one member of the archive."""
    data = _zip_of("bad0", b"evil")
    at = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    second = data.index(b"PK\x01\x02", at + 1)
    entry = data[second:end]
    twin = entry.replace(b"bad0", b"bad1")
    directory = data[at:end] + twin
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(directory), at, 0)
    return data[:at] + directory + tail


def _twice() -> bytes:
    data = _zip_of("gooD", b"no!")
    return data.replace(b"gooD", b"good")


def _greedy_xz() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(PACKED["tar"], filters=filters))
    # The dictionary's size is one byte of the block header (xz file format 5.3.1), followed by a CRC.
    size = (data[12] + 1) * 4
    header = data[12 : 12 + size - 4]
    at = header.index(b"\x21\x01") + 2
    header[at] = 36  # 1 GiB
    data[12 : 12 + size] = header + struct.pack("<L", zlib.crc32(bytes(header)))
    return bytes(data)


def damaged(seed: int = 20261128) -> Iterator[Sample]:
    """Each format cut at many places, and with flipped bits."""
    chance = random.Random(seed)
    for label, data in PACKED.items():
        plain = label in ("tar", "tar.gnu", "tar.ustar")
        step = max(1, len(data) // 40)
        for length in range(0, len(data), step):
            rest = data[length:]
            harmless = plain and not rest.strip(b"\0") and length >= _end_mark(data)
            yield Sample(f"{label} cut at {length}", data[:length], "whole" if harmless else "refused")
        for number in range(25):
            at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
            flipped = bytearray(data)
            flipped[at] ^= bit
            yield Sample(f"{label} flipped at {at}, {number}", bytes(flipped), "either")


def _end_mark(data: bytes) -> int:
    """The first length at which both blocks of the end mark are there."""
    return (len(data.rstrip(b"\0")) + 511) // 512 * 512 + 1024


def samples() -> Iterator[Sample]:
    """All of them."""
    for label, data in PACKED.items():
        yield Sample(label, data, "whole")
    for label, data in hostile_tars():
        yield Sample(f"tar: {label}", data, "refused")
        yield Sample(f"tar.gz: {label}", gzip.compress(data, mtime=0), "refused")
    for label, data in hostile_zips():
        yield Sample(f"other: {label}", data, "refused")
    yield Sample(
        "tar: pax size that is not a number", _pax({"size": "many"}), "either"
    )  # tarfile takes it for 0.
    yield from damaged()
