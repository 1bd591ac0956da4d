"""A case has the fixtures that pytest gives to the test, though not all are made by pytest."""

from __future__ import annotations

import textwrap
from pathlib import Path

import inner
import pytest

MODULE = """
    import os
    import pytest
    from chaoskit import faults, scenario
    from saving import save

    pytestmark = pytest.mark.chaoskit(faults.kill())
    finalized = []

    @pytest.fixture
    def other(request, chaos):
        request.addfinalizer(lambda: finalized.append(chaos.path.exists()))
        return chaos.path

    def test_alone(chaos):
        chaos.run(save, chaos.path, 1)

    def test_request(chaos, request):
        assert request.node.name == "test_request"
        assert request.getfixturevalue("chaos") is chaos
        request.addfinalizer(lambda: finalized.append(chaos.path.exists()))
        chaos.run(save, chaos.path, 1)

    def test_asks_while_it_runs(chaos, request):
        directory = request.getfixturevalue("tmp_path")
        assert list(directory.iterdir()) == []
        (directory / "made").touch()
        assert request.getfixturevalue("other") == chaos.path
        chaos.run(save, chaos.path, 1)

    @pytest.mark.usefixtures("other")
    def test_uses(chaos):
        chaos.run(save, chaos.path, 1)

    def test_has_a_default(chaos, number=3):
        assert number == 3
        chaos.run(save, chaos.path, 1)

    class TestMethods:
        def setup_method(self):
            self.numbers = [1]

        def test_in_a_class(self, chaos):
            self.numbers.append(2)
            assert self.numbers == [1, 2]
            chaos.run(save, chaos.path, 1)

    class TestInstances:
        def test_is_fresh(self, chaos):
            assert vars(self) == {}
            self.number = 1
            chaos.run(save, chaos.path, 1)

    class TestOverrides:
        @pytest.fixture
        def chaos(self, chaos):
            chaos.mine = True
            return chaos

        def test_has_its_own(self, chaos):
            assert chaos.mine
            chaos.run(save, chaos.path, 1)
"""


def test_every_kind_of_test_passes_in_every_case(tmp_path: Path) -> None:
    """With the fixture request, with others asked for in between, with one that replaces chaos."""
    inner.write(tmp_path, MODULE)
    ran = inner.run(tmp_path)
    assert set(ran.outcomes.values()) == {"passed"}, ran.output
    assert len(ran.outcomes) == 8
    cases = ran.verdicts("test_alone")
    assert len(cases) > 3
    for name in ran.outcomes:
        assert ran.verdicts(name) == cases, name


HOOKS = """
    import pytest

    def note(path):
        with open("finalized", "a") as file:
            print(path.exists(), file=file)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(pyfuncitem):
        path = pyfuncitem.funcargs["chaos"].path
        pyfuncitem.addfinalizer(lambda: note(path))
        assert set(pyfuncitem.funcargs) == {"chaos", "request"}
        assert pyfuncitem._request.getfixturevalue("tmp_path").is_dir()
        return (yield)
"""


def test_hooks_of_others_may_finalize_and_ask(tmp_path: Path) -> None:
    """What a plugin does to an item in its call works in a case; chaos.path is still there at the end."""
    inner.write(tmp_path, MODULE)
    (tmp_path / "hooks.py").write_text(textwrap.dedent(HOOKS))
    ran = inner.run(tmp_path, "-k", "test_alone", *inner.TRIED, plugins=("hooks",))
    cases = len(ran.verdicts("test_alone"))
    assert ran.outcomes == {"test_alone": "passed"}, ran.output
    tried = ran.scenario("test_alone")["oracle"]["tried"]
    # Besides the cases and the trials of its check, the test runs as the baseline, and is recorded again.
    assert (tmp_path / "finalized").read_text().split() == ["True"] * (cases + tried + 2)


LEAVING = """
    import os
    from chaoskit import faults, scenario
    from saving import overwrite, load

    @scenario(faults.kill())
    def test_breaks(chaos):
        overwrite(chaos.path, 1)
        os.chdir(chaos.path)
        chaos.run(overwrite, chaos.path, 2)
        assert load(chaos.path) in (1, 2)

    def test_later():
        assert os.path.exists("test_inner.py")
"""


@pytest.mark.parametrize("arguments", [(), ("--pdb",)])
def test_a_case_that_breaks_is_torn_down(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Also where a debugger has stopped in it: the next test begins where all tests do."""
    inner.write(tmp_path, LEAVING)
    ran = inner.run(tmp_path, *arguments, given="c\n")
    assert ran.outcomes == {"test_breaks": "failed", "test_later": "passed"}, ran.output
