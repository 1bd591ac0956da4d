"""Tests whose runner keeps an error instead of raising it are judged like all others."""

from __future__ import annotations

from pathlib import Path

import inner
import pytest

MODULE = """
    import unittest
    import pytest
    from chaoskit import faults, scenario
    from saving import save, overwrite, load

    class TestSaving(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def _chaos(self, chaos):
            self.chaos = chaos

        def save_again(self, how):
            how(self.chaos.path, 1)
            self.chaos.run(how, self.chaos.path, 2)

        @scenario(faults.kill())
        def test_correct(self):
            self.save_again(save)
            self.assertIn(load(self.chaos.path), (1, 2))

        @scenario(faults.kill())
        def test_wrong(self):
            self.save_again(overwrite)
            self.assertIn(load(self.chaos.path), (1, 2))

        @scenario(faults.kill())
        def test_wrong_in_a_subtest(self):
            self.save_again(overwrite)
            with self.subTest("part"):
                self.assertIn(load(self.chaos.path), (1, 2))

        @scenario(faults.kill())
        def test_never_right(self):
            self.save_again(save)
            self.assertEqual(load(self.chaos.path), 3)

        @scenario(faults.kill())
        def test_skips_itself(self):
            self.save_again(save)
            self.skipTest("not today")
"""

SUBTESTS = """
    from chaoskit import faults, scenario
    from saving import overwrite, load

    @scenario(faults.kill())
    def test_wrong_in_a_subtest(chaos, subtests):
        overwrite(chaos.path, 1)
        chaos.run(overwrite, chaos.path, 2)
        with subtests.test("part"):
            assert load(chaos.path) in (1, 2)
"""


def test_scenarios_in_a_testcase(tmp_path: Path) -> None:
    """What breaks in a case is a violation; what never held or was skipped is reported without cases."""
    inner.write(tmp_path, MODULE)
    ran = inner.run(tmp_path)
    assert "violated" in ran.verdicts("test_wrong").values()
    assert "violated" in ran.verdicts("test_wrong_in_a_subtest").values()
    assert set(ran.verdicts("test_correct").values()) == {"failed safe"}
    assert ran.outcomes["TestSaving::test_correct"] == "passed"
    assert ran.outcomes["TestSaving::test_never_right"] == "failed"
    assert ran.outcomes["TestSaving::test_skips_itself"] == "skipped"
    assert ran.verdicts("test_never_right") == ran.verdicts("test_skips_itself") == {}


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="the fixture subtests came with pytest 9")
def test_a_subtest_that_breaks_in_a_case(tmp_path: Path) -> None:
    """Pytest reports a failed subtest by itself and lets the test go on: in a case it is a violation."""
    inner.write(tmp_path, SUBTESTS)
    assert "violated" in inner.run(tmp_path).verdicts("test_wrong_in_a_subtest").values()


LOGGED = """
    import logging
    from chaoskit import faults, scenario

    def read(path):
        file = open(path / "data")
        return file.read()

    def work(path):
        try:
            read(path)
        except OSError as error:
            logging.getLogger("program").warning("not read: %r", error)

    @scenario(faults.disk().only("EIO").on(call="read"))
    def test_logs_its_errors(chaos):
        (chaos.path / "data").write_text("x")
        chaos.run(work, chaos.path)
"""


def test_an_error_that_was_logged_keeps_nothing_open(tmp_path: Path) -> None:
    """pytest keeps the record of it, and so its frames with the file: without pytest that is closed."""
    inner.write(tmp_path, LOGGED)

    found = inner.run(tmp_path)

    assert found.outcomes == {"test_logs_its_errors": "passed"}, found.output
