"""The watcher without the runtime: the same requests, and nothing that would survive trouble.

It is what ``benchmarks/systems.py`` compares the watcher with.
"""

from __future__ import annotations

import csv
import hashlib
import tarfile
from pathlib import Path
from typing import Any

import requests

from scenarios.watcher.share import COMPLETE, SHEET

FILTERED: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Filters of archives are new in CPython 3.11.4; before, an archive is trusted as the server is."""


def main(share: Path, results: Path, pipeline: str, database: str) -> None:
    """Have every sample of every complete run processed, one after the other, and upload what comes out."""
    with requests.Session() as session:
        for url in (pipeline, database):
            token = session.post(url + "/login", json={"user": "watcher", "password": ""}).json()["token"]
            session.headers["Authorization"] = f"Bearer {token}"
        for sheet in sorted(share.glob(f"*/{SHEET}")):
            if (sheet.parent / COMPLETE).exists():
                with sheet.open(newline="") as file:
                    for row in csv.DictReader(file):
                        _process(session, pipeline, database, sheet.parent, row, results)


def _process(
    session: requests.Session, pipeline: str, database: str, run: Path, row: dict[str, str], results: Path
) -> None:
    name = f"{run.name}/{row['sample']}"
    checksum = hashlib.sha256((run / row["reads"]).read_bytes()).hexdigest()
    told: dict[str, Any] = {"sample": name, "checksum": checksum}
    id = session.post(f"{pipeline}/runs", json=told, headers={"Idempotency-Key": name}).json()["id"]
    while session.get(f"{pipeline}/runs/{id}").json()["state"] != "done":
        pass
    archive = results / f"{row['sample']}.tar.gz"
    archive.write_bytes(session.get(f"{pipeline}/runs/{id}/result").content)
    target = results / name
    target.mkdir(parents=True)
    with tarfile.open(archive) as opened:
        opened.extractall(target, **FILTERED)
    archive.unlink()
    with (target / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    session.post(
        f"{database}/samples", json={"sample": name, "rows": rows}, headers={"Idempotency-Key": name}
    )
