"""The table of errnos against the kernel of this machine: what a call really gives, the table has."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import provocations
import pytest
from provocations import Provocation

from chaoskit.faults import errnos

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="provokes the Linux kernel")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the kernel answered to every provocation, from one process in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare, of util-linux")
    command = [unshare, "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = [sys.executable, provocations.__file__, str(tmp_path_factory.mktemp("provoked"))]
    done = subprocess.run([*command, *script], capture_output=True, text=True, timeout=60)
    if "unshare failed" in done.stderr:
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("provocation", provocations.ALL, ids=lambda provocation: provocation.name)
def test_the_table_has_what_the_kernel_does(provocation: Provocation, answers: dict[str, str]) -> None:
    """An errno that the kernel gives under some condition is offered under that condition."""
    answer = answers[provocation.name]
    if answer.startswith("skipped"):
        pytest.skip(answer)
    expected = {getattr(errno, name): name for name in provocation.errno.split(" or ")}
    assert getattr(errno, answer, answer) in expected
    assert errnos.can_fail(provocation.operation, expected[getattr(errno, answer)])


def test_most_of_it_was_provoked(answers: dict[str, str]) -> None:
    """The comparison is not empty: without any privilege the kernel still answers two thirds of it."""
    answered = [name for name, answer in answers.items() if not answer.startswith("skipped")]
    assert len(answered) * 3 >= len(provocations.ALL)


def test_every_source_is_a_manual_page_that_mentions_the_errno() -> None:
    """Each row's page, where the machine has it, has the errno among its words."""
    pages = Path("/usr/share/man")
    rows = {(row.source, row.name) for rows in errnos.TABLE.values() for row in rows}
    cited = {
        (page, name) for source, name in rows for page in source.split(", ") if _page(pages, page) is not None
    }
    if not cited:
        pytest.skip("no manual pages of the kernel's calls on this machine")
    missing = {(page, name) for page, name in cited if not _mentions(_page(pages, page), name)}
    assert missing - _SAID_IN_OTHER_WORDS == set()


_SAID_IN_OTHER_WORDS = {
    ("setxattr(2)", "EOPNOTSUPP"),  # ENOTSUP, the same number
    ("removexattr(2)", "EOPNOTSUPP"),
    ("ioctl_iflags(2)", "EPERM"),  # "no changes are permitted"
}


def _page(root: Path, source: str) -> Path | None:
    name, _, section = source.rstrip(")").partition("(")
    found = sorted(root.glob(f"man{section[0]}/{name}.{section}*"))
    return found[0] if found else None


def _mentions(page: Path | None, name: str, depth: int = 2) -> bool:
    """Return True if a page, or the one that it includes as its text, holds ``name``."""
    assert page is not None
    raw = page.read_bytes()
    text = (gzip.decompress(raw) if page.suffix == ".gz" else raw).decode()
    if text.startswith(".so ") and depth:
        target = page.parent.parent / text.split()[1]
        return _mentions(next(target.parent.glob(f"{target.name}*"), None), name, depth - 1)
    return name in text
