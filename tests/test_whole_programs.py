"""The whole programs of the documents: both of each do what the page says, and ours is the shorter."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs/how-to/whole-programs.md"


@dataclass(frozen=True)
class Told:
    """One section of the page: our program, what both have to show, and the other program."""

    name: str
    ours: str
    check: str
    theirs: str


def sections() -> list[Told]:
    """Each section with its three blocks of code, in the order in which it has them."""
    found = []
    for text in PAGE.read_text("utf-8").split("\n## ")[1:]:
        ours, check, theirs = re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        found.append(Told(text.partition("\n")[0], ours, check, theirs))
    return found


def code_lines(source: str) -> int:
    """Lines that are neither empty nor comments."""
    return sum(1 for line in source.splitlines() if line.strip() and not line.strip().startswith("#"))


SECTIONS = [pytest.param(one, id=one.name) for one in sections()]


def run(program: str, check: str, folder: Path) -> None:
    path = folder / "program.py"
    path.write_text(f"{program}\n{check}")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_three() -> None:
    """A client, a scraper and a worker."""
    assert len(SECTIONS) == 3


@pytest.mark.parametrize("told", SECTIONS)
def test_ours_does_what_the_page_says(told: Told, tmp_path: Path) -> None:
    """Our program alone holds what the section demands."""
    run(told.ours, told.check, tmp_path)


@pytest.mark.parametrize("told", SECTIONS)
def test_the_other_does_the_same(told: Told, tmp_path: Path) -> None:
    """The comparison is fair: the program on other libraries holds it, too."""
    for library in ("tenacity", "pybreaker"):
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed: it is in the dependency group peers")
    run(told.theirs, told.check, tmp_path)


@pytest.mark.parametrize("told", SECTIONS)
def test_ours_is_the_shorter(told: Told) -> None:
    """Less than half of the lines of the other."""
    assert code_lines(told.ours) * 2 < code_lines(told.theirs)


@pytest.mark.parametrize("told", SECTIONS)
def test_the_check_finds_a_program_that_does_nothing_about_failures(told: Told, tmp_path: Path) -> None:
    """What the section demands is not met by the bare calls."""
    bare = {
        "A client of an HTTP service": (
            "import httpx\n"
            "def connect(inner=None): return httpx.Client(transport=inner, base_url='http://shop.test')\n"
            "def ask(client, method, path):\n"
            "    return client.request(method, path).raise_for_status().json()\n"
        ),
        "A scraper": (
            "import asyncio, httpx\n"
            "async def scrape(client, urls):\n"
            "    found = await asyncio.gather(*map(client.get, urls), return_exceptions=True)\n"
            "    pairs = list(zip(urls, found))\n"
            "    good = {u: a.text for u, a in pairs if not isinstance(a, Exception) and a.is_success}\n"
            "    return good, {u: a for u, a in pairs if u not in good}\n"
        ),
        "A worker that is told to stop": (
            "import json, threading\n"
            "def work_off(jobs, work, left):\n"
            "    for job in jobs: work(job, threading.Event())\n"
            "    return 0\n"
        ),
    }
    with pytest.raises(AssertionError, match=r"(AssertionError|ConnectionError|HTTPStatusError)"):
        run(bare[told.name], told.check, tmp_path)
