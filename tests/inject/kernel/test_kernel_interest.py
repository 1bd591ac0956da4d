"""A case looks at few calls, and is struck as if it had looked at all of them."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from typing import Any

import pytest
from budgets import bounded
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.operation import FileDetail, Operation, Place
from chaoskit.core.schedule import Fault, Point, Schedule, Strike, point_of
from chaoskit.faults.errnos import TABLE, keeps_failing
from chaoskit.faults.shapes import Errno, shape_of
from chaoskit.inject import channel
from chaoskit.inject.base import Plan, Ran
from chaoskit.inject.kernel import domains, interest, supervisor
from chaoskit.inject.kernel.files.fulldisk import FullDisk
from chaoskit.inject.kernel.standing import StandingError

FAMILIES = sorted({spec.family for spec in domains.SPECS} | {"rmdir", "promise", "end"})
FAULTS = [
    Fault("EIO"),
    Fault("EIO", "persistent"),
    Fault("ENOSPC", "persistent"),
    Fault("full", "7"),
    Fault("kill"),
    Fault("delay", "1"),
]
STRIKES = st.lists(
    st.builds(
        Strike,
        st.builds(
            Point,
            st.sampled_from(FAMILIES),
            st.just("a"),
            place=st.sampled_from([Place(), Place(), Place(), Place(thread=1), Place(process="git~1")]),
        ),
        st.sampled_from(FAULTS),
    ),
    max_size=3,
)
UNREACHED = "t9:write(zzz)#1=EIO"
"""A second strike that never comes and for which all calls have to be looked at."""


def _standing(fault: Fault) -> list[Any]:
    shape = shape_of(fault)
    if fault.name == "full":
        return [FullDisk(7)]
    return [StandingError(shape, "a")] if isinstance(shape, Errno) and shape.lasting else []


@given(STRIKES, st.booleans(), st.booleans())
def test_the_filter_lets_nothing_by_that_is_needed_later(
    strikes: list[Strike], record: bool, promises: bool
) -> None:
    """However many strikes have struck, what is needed then is among what stops from the start."""
    plan = Plan("/x", record=record, strikes=tuple(strikes))
    whole = interest.at_any_time(plan, promises)
    for reached in range(len(strikes) + 1):
        standing = [one for strike in strikes[:reached] for one in _standing(strike.fault)]
        now = interest.from_now_on(plan, strikes[reached:], standing, promises)
        assert whole is None or (now is not None and now <= whole)


def test_a_case_stops_few_families() -> None:
    """One error at a write is no reason to stop opens; one that stays is a reason to stop what it can hit."""

    def families(schedule: str) -> frozenset[str] | None:
        return interest.at_any_time(Plan("/x", strikes=Schedule.parse(schedule).strikes), False)

    assert families("") == frozenset()
    assert families("write(a)#1=EIO") == {"write"}
    assert families("rmdir(a)#1=kill") == {"rmdir", "unlink"}
    assert families("write(a)#1=EIO; fsync(a)#1=kill") == {"write", "fsync"}
    assert families("write(a)#1=EIO; t1:fsync(a)#1=kill") is None
    assert families("git~1:write(a)#1=EIO") is None
    full = families("open(a)#1=full[0]")
    assert full is not None
    assert {"write", "open", "unlink", "mkdir"} <= full
    assert "read" not in full
    lasting = families("write(a)#1=ENOSPC[persistent]")
    assert lasting is not None
    assert {"write", "open", "mkdir", "rename"} <= lasting
    assert not {"read", "close", "getdents"} & lasting
    lasting = families("write(a)#1=EIO[persistent]")
    assert lasting is not None
    assert {"write", "open", "fsync", "read", "sendfile"} <= lasting


@given(
    call=st.sampled_from(sorted(TABLE)),
    name=st.sampled_from(sorted({row.name for rows in TABLE.values() for row in rows})),
    flags=st.integers(0, 1 << 12),
    created=st.booleans(),
)
def test_whatever_keeps_failing_is_stopped(call: str, name: str, flags: int, created: bool) -> None:
    """The catalogue asks for the details of an operation, the filter knows its family alone."""
    one = Operation(
        0, call, "a", None, syscall=call, detail=FileDetail(flags=flags, created=created, length=9)
    )
    if keeps_failing(one, name):
        error = shape_of(Fault(name, "persistent"))
        assert isinstance(error, Errno)
        assert call in StandingError(error, "a").families


def _program(root: str) -> list[Any]:
    """Something of everything: threads, a child, a child program, many descriptors of one number."""
    seen: list[Any] = []

    def attempt(call: Any) -> None:
        try:
            seen.append(call())
        except OSError as error:
            seen.append(-(error.errno or 0))

    def file(name: str) -> None:
        fd = os.open(f"{root}/{name}", os.O_CREAT | os.O_RDWR)
        for _ in range(3):
            attempt(lambda: os.write(fd, b"x" * 10))
        attempt(lambda: os.pread(fd, 5, 0))
        attempt(lambda: os.fsync(fd))
        attempt(lambda: os.close(fd))

    for name in ("a", "ab", "a"):
        attempt(lambda name=name: file(name))
    attempt(lambda: os.rename(f"{root}/a", f"{root}/b"))
    thread = threading.Thread(target=lambda: attempt(lambda: file("a")))
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        attempt(lambda: file("a"))
        os._exit(0)
    os.waitpid(pid, 0)
    attempt(lambda: subprocess.run(["sh", "-c", "echo x > a; rm -f b"], cwd=root, check=False).returncode)
    for name in ("d", "e"):
        attempt(lambda name=name: os.mkdir(f"{root}/{name}"))
    attempt(lambda: os.rmdir(f"{root}/d"))
    attempt(lambda: file("a"))
    attempt(lambda: os.unlink(f"{root}/a"))
    return seen


def _shown(ran: Ran) -> tuple[Any, ...]:
    struck = [(one.strike, str(one.operation), one.effect) for one in ran.receipts]
    return (ran.ok, ran.value, ran.signal, ran.reached, [text[1:] for text in struck])


STRUCK = ["EIO", "kill", "EIO[persistent]", "ENOSPC[persistent]", "EACCES[persistent]", "full[25]"]


@pytest.mark.parametrize("fault", STRUCK)
def test_a_case_is_struck_as_if_all_calls_were_looked_at(root: str, backend: Any, fault: str) -> None:
    """With the filter of the case and with the whole one, at every operation one of the faults.

    With ``BUDGET=all``, every fault.
    """

    def below(name: str, schedule: str, *, record: bool = False) -> Ran:
        place = f"{root}/{name}"
        os.mkdir(place)
        strikes = Schedule.parse(schedule).strikes
        return backend.run(lambda: _program(place), Plan(place, record=record, strikes=strikes))

    recorded = below("recorded", "", record=True)
    points = [str(point_of(one)) for one in recorded.trace if one.call != "end"]
    assert len(set(points)) == len(points) > 40
    tried = [
        (number, point)
        for number, point in enumerate(points)
        if bounded(1) is None or number % 6 == STRUCK.index(fault)
    ]
    receipts = 0
    for number, point in tried:
        few = below(f"few{number:03}", f"{point}={fault}")
        all_ = below(f"all{number:03}", f"{point}={fault}; {UNREACHED}")
        assert _shown(few) == _shown(all_), point
        receipts += len(few.receipts)
    # A disk that is nearly full is noticed by those alone who want more than is left.
    assert receipts > len(tried) / 3 if fault.startswith("full") else receipts == len(tried)


def test_promises_of_a_child_are_heard_while_writes_are_counted(run: Any, root: str) -> None:
    """The descriptor that they are written to is not a file of the workload's."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        pid = os.fork()
        if pid == 0:
            channel.promise("of the child")
            os._exit(0)
        os.waitpid(pid, 0)
        channel.promise("of the first")
        for _ in range(3):
            os.write(fd, b"x")

    ran = run(work, "write(a)#3=EIO")
    assert ran.promised == ("of the child", "of the first")
    assert ran.error.errno == errno.EIO
    assert len(ran.receipts) == 1


def test_a_file_without_a_name_is_not_counted_as_one_of_a_name_like_its_link(run: Any, root: str) -> None:
    """The kernel appends ' (deleted)' to the link of the first; that is how the second is called."""

    def work() -> list[int]:
        lost = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        os.unlink(f"{root}/a")
        named = os.open(f"{root}/a (deleted)", os.O_CREAT | os.O_WRONLY)
        written = [os.write(lost, b"x"), os.write(named, b"x")]
        try:
            os.write(named, b"x")
        except OSError as error:
            written.append(-(error.errno or 0))
        return written

    ran = run(work, "write(a%20%28deleted%29)#2=EIO")
    assert ran.value == [1, 1, -errno.EIO]


def test_a_delay_ends_in_time_while_others_are_counted(
    run: Any, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many calls go by in between, each right behind the one before."""
    monkeypatch.setattr(supervisor, "_AT_ONCE", 10**6)

    def work() -> float:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        over = threading.Event()

        def others() -> None:
            while not over.is_set():
                os.pwrite(fd, b"x", 0)

        threads = [threading.Thread(target=others) for _ in range(4)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        os.write(fd, b"x")
        took = time.monotonic() - began
        over.set()
        for thread in threads:
            thread.join()
        return took

    took = [run(work, "write(a)#1=delay[0.01]; write(a)#9=EIO").value for _ in range(5)]
    assert sorted(took)[2] < 0.2


def test_counting_ends_with_the_time_of_the_run(run: Any, root: str) -> None:
    """A workload that makes counted calls forever is stopped when its time is over."""

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        while True:
            os.pwrite(fd, b"x", 0)

    ran = run(work, "write(a)#999999999=EIO", timeout=0.3)
    assert ran.timed_out
