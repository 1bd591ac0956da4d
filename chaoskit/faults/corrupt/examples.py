"""A small valid file of each format, which is damaged if no other is given."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import closing
from functools import cache

TABLE = b"id,name,size\n1,alpha,10\n2,beta,20\n3,gamma,30\n"
DOCUMENT = json.dumps({"name": "job", "steps": [1, 2.5, None, True], "done": False}).encode()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (("a.csv", TABLE), ("d/b.json", DOCUMENT)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (("a.csv", TABLE), ("d/b.json", DOCUMENT)):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _database() -> bytes:
    rows = [(n, f"job {n} " + "x" * 300) for n in range(40)]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table jobs (id integer primary key, name text)")
        connection.executemany("insert into jobs values (?, ?)", rows)
        connection.commit()
        return connection.serialize()


def _parquet() -> bytes:
    """The outline of a Parquet file: meaningless pages and a footer, between the right magic bytes."""
    footer = bytes(range(64))
    return b"PAR1" + bytes(range(256)) + footer + len(footer).to_bytes(4, "little") + b"PAR1"


@cache
def examples() -> Mapping[str, bytes]:
    """A file of each format by the format's name, made when first asked for."""
    return {
        "gzip": gzip.compress(TABLE, mtime=0),
        "xz": lzma.compress(TABLE),
        "bzip2": bz2.compress(TABLE),
        "tar": _tar(),
        "zip": _zip(),
        "json": DOCUMENT,
        "jsonl": b'{"id": 1, "size": 10}\n{"id": 2, "size": 20}\n{"id": 3, "size": 30}\n',
        "csv": TABLE,
        "tsv": TABLE.replace(b",", b"\t"),
        "ssv": TABLE.replace(b",", b";"),
        "yaml": b"name: job\nretry:\n  attempts: 3\n  wait: 1.5\nlist: [a, b]\n",
        "sqlite": _database(),
        "pickle": pickle.dumps({"a": [1, 2, ("x", None)]}, 4),
        "parquet": _parquet(),
        "text": b"first line\nsecond line\nlast line\n",
        "file": bytes(range(256)) * 20,
    }
