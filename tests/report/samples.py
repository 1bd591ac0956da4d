"""Results as the explorer makes them, small but with every field in use somewhere."""

from __future__ import annotations

from chaoskit.core.case import CaseFailure, CaseResult, Difference, RunSummary
from chaoskit.core.finding import Advice, Finding
from chaoskit.core.operation import Caveat, Frame, Receipt
from chaoskit.core.result import Budget, Options, PointSummary, ScenarioResult, StateCounts, Timing, Variation
from chaoskit.report import Entry, Environment, Report, Run

SITE = Frame("app/save.py", 12, "save")

ENVIRONMENT = Environment(
    system="Linux",
    kernel="6.1.0",
    machine="x86_64",
    processors=2,
    memory=8 << 30,
    filesystem="tmpfs",
    python="3.11.7",
    implementation="cpython",
    chaoskit="0.1.0",
    packages={"pytest": "9.2.0"},
)


def run(created: str = "2026-01-02T03:04:05Z", python: str = "3.11.7", *, interrupted: bool = False) -> Run:
    environment = Environment(**{**_fields(ENVIRONMENT), "python": python})
    return Run(created, 1.5, ("pytest", "scenarios"), interrupted, environment)


def _fields(record: Environment) -> dict[str, object]:
    return {name: getattr(record, name) for name in Environment.__dataclass_fields__}


def clean(nodeid: str = "scenarios/test_save.py::test_good") -> ScenarioResult:
    """Two points, three cases, none broken."""
    return ScenarioResult(
        nodeid,
        "passed",
        file="scenarios/test_save.py",
        line=3,
        seed=7,
        backend="kernel",
        options=Options(faults="disk", workers=2, model=("ext4",)),
        points=(
            PointSummary(0, "open(a)#1", "open", "a", None, "", 1, "3", (SITE,), True, ("EIO",), 1),
            PointSummary(
                1, "rename(a -> b)#1", "rename", "a", "b", "", 1, "0", (SITE,), True, ("EIO", "kill"), 2
            ),
        ),
        cases=(
            CaseResult(0, "open(a)#1=EIO", "failed safe", (0,), ("EIO",)),
            CaseResult(1, "rename(a -> b)#1=EIO", "failed safe", (1,), ("EIO",)),
            CaseResult(2, "rename(a -> b)#1=kill", "tolerated", (1,), ("kill",)),
        ),
        budget=Budget(None, 3, 3),
        timing=Timing(0.1, 0.1, 0.3, 0.5),
        promises=1,
    )


def violated(nodeid: str = "scenarios/test_save.py::test_bad") -> ScenarioResult:
    """One violated case with everything that a failure can carry, one that diverged, and a budget."""
    failure = CaseFailure(
        "assertion",
        "AssertionError",
        "assert None == {'n': 1}",
        "E   assert None\n```\nfences in it\n```",
        SITE,
    )
    difference = Difference("job.json", "missing", "file, 12 bytes, mode 644", "", "")
    receipt = Receipt("write(a)#1=kill", "write(a)#1", "SIGKILL to 1 process")
    killed = RunSummary(1, "died", signal="SIGKILL", receipts=(receipt,), promised=1, seconds=0.01)
    return ScenarioResult(
        nodeid,
        "failed",
        file="scenarios/test_save.py",
        line=20,
        backend="kernel",
        points=(PointSummary(0, "write(a)#1", "write", "a", None, "", 1, "12", (SITE,), True, ("kill",), 1),),
        cases=(
            CaseResult(
                0, "write(a)#1=kill", "violated", (0,), ("kill",), (killed,), failure, (difference,), 1
            ),
            CaseResult(
                1, "write(a)#2=kill", "diverged", (), ("kill",), attempts=3, note="point was not reached"
            ),
        ),
        findings=(
            Finding(
                0,
                "violated",
                "write(a)#1=kill",
                ("write(a)#1=kill", "write(a*)#1=kill"),
                "write(a)#1",
                SITE,
                (SITE,),
                failure,
                (difference,),
                ("file.write(text)",),
                True,
                ("ext4", "xfs"),
                Advice(
                    "rename-before-sync",
                    "a was renamed before it was synced.",
                    "os.fsync(file)",
                    "rename(a)",
                    SITE,
                ),
            ),
        ),
        variations=(Variation("name", "tmp*.db", SITE),),
        caveats=(Caveat("shared-mapping", "a-shm", "a-shm is mapped: its pages were | not followed"),),
        budget=Budget(2, 9, 2, {"budget": 7}),
        advice=(
            Advice(
                "directory-not-synced",
                "The directory was not synced.",
                "fd = os.open(folder)    # `folder`\nos.fsync(fd)",
            ),
        ),
        crash_states=StateCounts(1200, 400, 150, 250),
    )


def report(*results: ScenarioResult, made_by: Run | None = None) -> Report:
    entries = [Entry(result, "failed" if result.state == "failed" else "passed") for result in results]
    return Report((made_by or run(),), tuple(sorted(entries, key=lambda entry: entry.result.nodeid)))
