"""The same scenario gives the same cases and verdicts each time; what varies is said."""

from __future__ import annotations

import inner
import pytest
from budgets import tried

TIMES = tried(50)

MODULE = """
    import os, random, time
    import pytest
    from chaoskit import faults, scenario
    from saving import overwrite, load

    @pytest.mark.parametrize("time", range({times}))
    @scenario(faults.kill() | faults.disk().only("EIO").on(call="write"))
    def test_same(chaos, time):
        overwrite(chaos.path, 1)
        chaos.run(overwrite, chaos.path, 2)
        assert load(chaos.path) in (1, 2)

    def varying(path):
        (path / "fixed").touch()
        # The system's random source is new in every process, unlike the random module.
        (path / ("part-" + os.urandom(8).hex())).touch()
        if (path.parent / "again").exists():
            (path / "only-later").touch()
        (path.parent / "again").touch()

    @scenario(faults.kill())
    def test_varies(chaos):
        chaos.run(varying, chaos.path)
"""


def told(seen: inner.Inner) -> list[tuple[object, ...]]:
    """All cases of all repetitions, without what times and directories tell apart."""
    return [
        tuple((c["schedule"], c["verdict"], c["attempts"], c["finding"]) for c in result["cases"])
        for result in seen.results.values()
        if "test_same" in result["nodeid"]
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """All repetitions in one process."""
    directory = tmp_path_factory.mktemp("alone")
    inner.write(directory, MODULE.format(times=TIMES))
    return inner.run(directory)


def test_explorations_are_alike(alone: inner.Inner) -> None:
    """The cases, their order, verdicts, attempts and findings do not change."""
    several = told(alone)
    assert len(several) == TIMES
    assert len(several[0]) >= 5
    assert set(several) == {several[0]}


def test_explorations_under_xdist_are_alike(
    alone: inner.Inner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two xdist workers with two case workers each find what one process finds."""
    directory = tmp_path_factory.mktemp("spread")
    inner.write(directory, MODULE.format(times=6))
    spread = inner.run(directory, "-n2", "--chaoskit-workers=2", plugins=("xdist.plugin",))
    assert len(told(spread)) == 6
    assert set(told(spread)) == set(told(alone))


def test_what_varies_is_said(alone: inner.Inner) -> None:
    """Names get a wildcard and are told; operations that only one recording has are told and not struck."""
    result = alone.scenario("test_varies")
    variations = {(v["kind"], v["text"]) for v in result["variations"]}
    later = {("only in second", f"{call}(only-later)#1") for call in ("open", "utimens", "close")}
    assert variations == {("name", "part-*"), *later}
    assert "open(part-*)#1=kill" in alone.verdicts("test_varies")
    assert not any("only-later" in schedule for schedule in alone.verdicts("test_varies"))
    assert set(alone.verdicts("test_varies").values()) == {"failed safe"}
