"""The same pipeline without the runtime: as long, with fewer guarantees. The README has what this counts."""

from __future__ import annotations

import ast
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from budgets import planted
from planting import explored, schedules

pytest.importorskip("pybreaker")
pytest.importorskip("sqlalchemy")
pytest.importorskip("tenacity")

from scenarios.neuro import world as containers
from scenarios.neuro.peers import world
from scenarios.neuro.peers.runner import Runner

HERE = Path(__file__).parent
LACKS = {
    "test_attempts_of_a_killed_worker": "kill",
    "test_output_when_the_power_goes": "power_loss",
}
"""What is violated, and a part of the schedule that shows it."""


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank, nor comment, nor documentation."""
    text = path.read_text()
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in documented
        for number, line in enumerate(text.splitlines(), 1)
    )


def test_the_numbers_of_the_comparison_are_counted() -> None:
    """Lines of code of both, as the README has them."""
    said = (HERE / "README.md").read_text()
    for path in (HERE.parent / "program.py", HERE / "runner.py"):
        name, lines = path.name, lines_of_code(path)
        assert re.search(rf"`{name}`[^|]*\| {lines} \|", said), f"{name} has {lines} lines of code"


def test_it_does_its_work(tmp_path: Path) -> None:
    """When nothing goes wrong it does what the other does."""
    containers.prepare(tmp_path)
    promised: list[str] = []
    runner = Runner(tmp_path / "state", world.COMMAND, promised.append)
    quick = {"conversion": (2, 0, 0)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scenarios.neuro.peers.runner.POLICIES", quick)
        for run in world.RUNS:
            runner.submit(*run)
        runner.work()
        (letter,) = runner.letters()
        runner.redrive(letter.id)
        runner.work()
    assert runner.statuses() == {"conversion.good.1": "done", "conversion.always137.1": "dead"}
    assert promised.count("conversion.always137.1") == 4
    runner.resolve(letter.run, "me")
    (letter,) = runner.letters()
    assert letter.resolved_by == "me"
    runner.close()


def test_two_workers_do_the_same_run(tmp_path: Path) -> None:
    """Nothing is claimed: what one has begun another begins too. The runtime's second worker has to wait."""
    containers.prepare(tmp_path)
    started: list[str] = []
    one, other = (Runner(tmp_path / "state", world.COMMAND, started.append) for _ in range(2))
    name = one.submit("conversion", "good", "1")
    begun = one.pending()
    other.work()
    for run in begun:
        one._carry_out(run)
    assert started == [name, name]
    for runner in (one, other):
        runner.close()
    other_place = tmp_path / "other"
    other_place.mkdir()
    containers.prepare(other_place)
    with containers.opened(other_place) as neuro:
        steps = neuro.tasks["conversion"].steps()
        neuro.submit("conversion", "good", "1")
        claim = steps.claim(name)
        assert claim is not None
        assert steps.claim(name) is None
        claim.release()


class Hook(BaseHTTPRequestHandler):
    """Refuses ``server.refusals`` requests, then takes all; ``server.taken`` are those."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.refusals -= 1
        refused = self.server.refusals >= 0
        if not refused:
            self.server.taken.append(json.loads(body)["run"])
        self.send_response(503 if refused else 200)
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        pass


def test_what_is_not_told_at_once_is_never_told(tmp_path: Path) -> None:
    """The breaker keeps a webhook that is down from delaying runs: of letters in between nothing is told.

    The runtime keeps what was not told and tells it later: ``test_news_cannot_be_told`` holds that.
    """
    containers.prepare(tmp_path)
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        server.refusals, server.taken = 5, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            runner = Runner(
                tmp_path / "state", world.COMMAND, hook=f"http://127.0.0.1:{server.server_port}/ops"
            )
            for number in range(7):
                runner.submit("preprocessing", "garbage", str(number))
            runner.work()
            assert len(runner.letters()) == 7
            assert (server.refusals, server.taken) == (0, [])
            # Its time is over; what comes now is told, what was rejected is not.
            runner._breaker.half_open()
            last = runner.submit("preprocessing", "garbage", "7")
            runner.work()
            assert server.taken == [last]
            runner.close()
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    # One case of each is enough.
    found = explored(HERE / "planted_peers.py", tmp_path_factory.mktemp("peers"), "--chaoskit-exitfirst")
    return {name: schedules(findings) for name, findings in found.items()}


@planted
@pytest.mark.parametrize("name", LACKS)
def test_a_guarantee_that_it_lacks(name: str, found: dict[str, list[str]]) -> None:
    """The same faults, the same invariants: here they break."""
    assert any(LACKS[name] in schedule for schedule in found[name]), found[name][:5]
