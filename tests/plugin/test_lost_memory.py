"""What a newcomer trips over: memory that stays in the workload, mocks that hear nothing, files in memory."""

from __future__ import annotations

import sys

import inner
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel backend is for Linux")

MODULE = """
    import pytest, responses, requests
    from chaoskit import faults, scenario
    from saving import save

    @scenario(faults.kill())
    def test_list(chaos):
        seen = []
        def work(path):
            save(path, {})
            seen.extend(range(5))
        chaos.run(work, chaos.path)
        assert len(seen) == 5

    @scenario(faults.kill())
    def test_returned(chaos):
        def work(path):
            save(path, {})
            return 5
        assert chaos.run(work, chaos.path).value in (5, None)

    def fetch(path):
        save(path, {"body": requests.get("http://example.test/").text})

    @scenario(faults.kill())
    @responses.activate(assert_all_requests_are_fired=True)
    def test_responses(chaos):
        responses.get("http://example.test/", body="hello")
        chaos.run(fetch, chaos.path)

    @scenario(faults.kill())
    def test_wrong_before_any_run(chaos):
        assert 1 == 2

    @scenario(faults.kill())
    def test_fake_files(chaos, fs):
        chaos.run(save, chaos.path, {})
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> inner.Inner:
    """One run of all of them."""
    directory = tmp_path_factory.mktemp("lost")
    inner.write(directory, MODULE)
    return inner.run(directory, plugins=("pyfakefs.pytest_plugin",))


@pytest.mark.parametrize("name", ["test_list", "test_responses"])
def test_c11_a_baseline_that_fails_after_a_run_comes_with_the_likely_reason(
    answers: inner.Inner, name: str
) -> None:
    """Memory that was changed in the fork, and requests that only the fork has made."""
    assert answers.outcomes[name] == "failed", answers.output
    assert "what it changes in memory stays there" in answers.texts[name]
    assert "Let it return what the test wants to know" in answers.texts[name]


def test_a_failure_that_has_another_reason_comes_without_it(answers: inner.Inner) -> None:
    """The twins: a result that is returned passes, and what fails before any run was not lost in one."""
    assert answers.outcomes["test_returned"] == "passed", answers.output
    assert "in memory" not in answers.texts["test_wrong_before_any_run"]


def test_c11_files_in_memory_are_refused_by_name(answers: inner.Inner) -> None:
    """Not with an error from within, about a file of /proc that pyfakefs does not have."""
    assert answers.outcomes["test_fake_files"] in ("failed", "error")
    assert (
        "pyfakefs is active while run() is called; expected the real file system"
        in answers.texts["test_fake_files"]
    )
    assert "Leave out the fixture fs" in answers.texts["test_fake_files"]
