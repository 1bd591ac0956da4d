"""The seccomp filter and the tables that it is made from, for both architectures."""

from __future__ import annotations

import os
import re
import struct

import pytest

from chaoskit.faults.calls import FAMILIES
from chaoskit.inject.kernel import domains
from chaoskit.inject.kernel.clock.table import OTHERS, READS, WAITS, TimeSpec
from chaoskit.inject.kernel.network.table import SERVICE
from chaoskit.inject.kernel.seccomp import abi, bpf, syscalls

MACHINES = ("x86_64", "aarch64")
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
NOTIFY, ALLOW = abi.SECCOMP_RET_USER_NOTIF, abi.SECCOMP_RET_ALLOW
FOREIGN = 0x40000003
"""AUDIT_ARCH_I386."""


def decide(
    machine: str,
    number: int,
    args: tuple[int, ...] = (),
    arch: int | None = None,
    families: syscalls.Families = None,
    specs: tuple[syscalls.Spec, ...] = domains.SPECS,
) -> int:
    """What the filter answers: an interpreter of the few instructions that it uses."""
    data = struct.pack(
        "=IIQ6Q", number, abi.AUDIT_ARCH[machine] if arch is None else arch, 0, *args, *[0] * (6 - len(args))
    )
    rows = list(struct.iter_unpack("=HBBI", bpf.program(machine, specs, families)))
    accumulator = position = 0
    while True:
        code, yes, no, value = rows[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x15:
            position += yes if accumulator == value else no
        elif code == 0x35:
            position += yes if accumulator >= value else no
        elif code == 0x05:
            position += value
        elif code == 0x06:
            return value
        else:
            raise AssertionError(f"instruction {code:#x}")


def specs(machine: str) -> dict[int, syscalls.Spec]:
    """Every call that may stop, by its number."""
    rows = (*domains.SPECS, *syscalls.WATCHED.values())
    return {number: spec for spec in rows if (number := spec.number(machine)) is not None}


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_watched_is_notified_and_nothing_else(machine: str) -> None:
    """Of the first 1,000 numbers exactly the listed calls without conditions go to the supervisor."""
    plain = {number for number, spec in specs(machine).items() if not spec.when}
    conditional = specs(machine).keys() - plain
    answers = {number: decide(machine, number) for number in range(1000) if number not in conditional}
    assert {number for number, answer in answers.items() if answer == NOTIFY} == plain
    assert set(answers.values()) == {NOTIFY, ALLOW}
    assert len(plain) >= 60


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        *(("fcntl", (3, command), NOTIFY) for command in (6, 7, 37, 38)),
        *(("fcntl", (3, command), ALLOW) for command in (0, 1, 2, 3, 5, 36, 1030)),
        ("ioctl", (3, abi.FICLONE), NOTIFY),
        ("ioctl", (3, abi.FICLONERANGE), NOTIFY),
        ("ioctl", (3, 0x5401), ALLOW),
        ("prctl", (abi.PR_SET_SECCOMP, 2), NOTIFY),
        ("prctl", (abi.PR_SET_NO_NEW_PRIVS, 1), ALLOW),
        ("mmap", (0, 4096, 3, 1, 5), NOTIFY),
        ("mmap", (0, 4096, 3, 3, 5), NOTIFY),
        ("mmap", (0, 4096, 3, 2, 5), ALLOW),
        ("mmap", (0, 4096, 1, 1, 5), NOTIFY),
        ("mmap", (0, 4096, 1, 2, 5), ALLOW),
        ("mprotect", (4096, 4096, 3), NOTIFY),
        ("mprotect", (4096, 4096, 1), ALLOW),
        ("mmap", (0, 4096, 3, 0x22, 0), ALLOW),
    ],
)
def test_some_calls_matter_by_their_arguments(
    machine: str, name: str, args: tuple[int, ...], answer: int
) -> None:
    """Locks, clones, shared writable mappings and filters go to the supervisor; their like do not."""
    (number,) = [number for number, one in specs(machine).items() if one.name == name]
    assert decide(machine, number, args) == answer


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_for_another_architecture_is_notified(machine: str) -> None:
    """Whatever its number is: it means something else there."""
    assert {decide(machine, number, arch=FOREIGN) for number in range(500)} == {NOTIFY}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("families", [frozenset(), frozenset({"write"}), frozenset({"open", "mmap", "lock"})])
def test_a_case_stops_its_families_and_what_is_watched(machine: str, families: frozenset[str]) -> None:
    """Every call is decided by those of its rows that are wanted, and allowed if none of them is."""
    by_number: dict[int | None, list[syscalls.Spec]] = {}
    for spec in domains.SPECS:
        by_number.setdefault(spec.number(machine), []).append(spec)
    arguments = [(), (3, 6), (3, abi.FICLONE), (abi.PR_SET_SECCOMP,), (0, 4096, 3, 1, 5), (bpf.CONTROL,)]
    stopped = 0
    for number in range(1000):
        for args in arguments:
            rows = by_number.get(number, [])
            wanted = tuple(spec for spec in rows if spec.always or spec.family in families)
            expected = decide(machine, number, args, specs=wanted)
            assert decide(machine, number, args, families=families) == expected, (number, args)
            stopped += expected == NOTIFY
    assert stopped > 50
    assert {decide(machine, number, arch=FOREIGN, families=families) for number in range(9)} == {NOTIFY}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("ppoll", (0, 0, 0), ALLOW),
        ("ppoll", (0, 0, 4096), NOTIFY),
        ("ppoll", (0, 0, 1 << 40), NOTIFY),
        ("epoll_pwait", (3, 0, 8, 0xFFFFFFFF), ALLOW),
        ("epoll_pwait", (3, 0, 8, 0), ALLOW),
        ("epoll_pwait", (3, 0, 8, 5000), NOTIFY),
        ("futex", (4096, 128, 1, 0), ALLOW),
        ("futex", (4096, 128, 1, 4096), NOTIFY),
        ("futex", (4096, 137, 1, 1 << 40), NOTIFY),
        ("futex", (4096, 129, 1, 0), NOTIFY),
        ("clock_gettime", (1, 4096), NOTIFY),
        ("clock_gettime", (2, 4096), ALLOW),
        ("clock_gettime", (-6 & 0xFFFFFFFFFFFFFFFF, 4096), ALLOW),
        ("brk", (0,), NOTIFY),
        ("brk", (1 << 40,), ALLOW),
        ("setsockopt", (3, 1, 20), NOTIFY),
        ("setsockopt", (3, 6, 20), ALLOW),
    ],
)
def test_a_wait_matters_if_it_ends_by_its_time(
    machine: str, name: str, args: tuple[int, ...], answer: int
) -> None:
    """A wait forever, or for nothing, is the kernel's; pointers above 4 GiB are pointers, too."""
    timed = (*WAITS, *READS, *OTHERS)
    (number,) = {spec.number(machine) for spec in timed if spec.name == name}
    assert number is not None
    assert decide(machine, number, args, specs=timed) == answer


def test_x32_calls_are_notified() -> None:
    """The x32 bit is no way around the filter."""
    assert {decide("x86_64", abi.X32_BIT | number) for number in range(600)} == {NOTIFY}
    assert decide("x86_64", 0xFFFFFFFF) == NOTIFY


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_fits_the_kernel(machine: str) -> None:
    """At most 4,096 instructions, every jump forward and inside, and a return at the end."""
    untimed = [spec for spec in domains.SPECS if not isinstance(spec, TimeSpec)]
    for specs, most in ((untimed, 512), ((*domains.SPECS, *OTHERS), 1024)):
        rows = list(struct.iter_unpack("=HBBI", bpf.program(machine, specs)))
        assert len(rows) < most
        assert rows[-1][0] == 0x06
        for position, (code, yes, no, value) in enumerate(rows):
            if code in (0x15, 0x35):
                assert position + 1 + max(yes, no) < len(rows)
            elif code == 0x05:
                assert position + 1 + value < len(rows)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    """Every number equals the header's, and a call that a machine lacks is not in its header."""
    path = next((path for path in HEADERS[machine] if os.path.exists(path)), None)
    if path is None:
        pytest.skip(f"no headers for {machine}")
    with open(path) as file:
        text = file.read()
    real = {name: int(value) for name, value in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text)}
    # The header gives newfstatat by way of the name that it has on 32-bit machines.
    real.setdefault("newfstatat", real.get("fstatat", 79))
    # The names that asm-generic/unistd.h gives to numbers shared with 32-bit machines.
    assert len(real) > 250
    rows = (*domains.SPECS, *OTHERS, *syscalls.WATCHED.values(), *syscalls.OTHERS.values())
    ours = {spec.name: spec.number(machine) for spec in rows}
    newest = max(real.values())
    for name, number in ours.items():
        if number is None:
            assert name not in real, name
        elif number <= newest:
            assert real[name] == number, name


def test_the_tables_are_consistent() -> None:
    """A number is that of one call, and every operation is of a family that is known."""
    rows = (*domains.SPECS, *syscalls.WATCHED.values())
    for machine in MACHINES:
        named = {(spec.name, spec.number(machine)) for spec in rows if spec.number(machine) is not None}
        assert len({number for _, number in named}) == len(named)
    assert {spec.family for spec in domains.SPECS} <= {*FAMILIES, SERVICE}
    assert {name for name, row in FAMILIES.items() if row.changes or row.syncs} - {"rmdir"} <= {
        spec.family for spec in domains.SPECS
    }


def test_an_argument_that_is_given_is_not_zero() -> None:
    """A pointer counts by both of its halves."""
    one = syscalls.Spec("recvfrom", "mine", 45, 207, ((4, "given", ()), (0, "any", (7,))))

    def answer(first: int, pointer: int) -> int:
        return decide("x86_64", 45, (first, 0, 0, 0, pointer), specs=(one,))

    assert {answer(7, pointer) for pointer in (1, 1 << 32, 0x7FFC00000000, 0xFFFFFFFF)} == {NOTIFY}
    assert answer(7, 0) == answer(8, 1) == answer(8, 1 << 32) == ALLOW


def test_two_domains_may_want_one_call_for_their_own_reasons() -> None:
    """It stops if one of them wants it: by an argument of its own, or whatever the arguments are."""
    mine = syscalls.Spec("recvfrom", "mine", 45, 207, ((4, "bits", (1,)),))
    yours = syscalls.Spec("recvfrom", "yours", 45, 207, ((3, "clear", (2,)), (0, "any", (7,))))

    def answer(families: syscalls.Families, *args: int) -> int:
        return decide("x86_64", 45, args, families=families, specs=(mine, yours))

    assert answer(None, 0, 0, 0, 2, 1) == answer(None, 7, 0, 0, 0, 0) == NOTIFY
    assert answer(None, 7, 0, 0, 2, 0) == answer(None, 8, 0, 0, 0, 0) == ALLOW
    assert answer(frozenset({"mine"}), 7, 0, 0, 0, 0) == ALLOW
    assert answer(frozenset({"yours"}), 7, 0, 0, 0, 0) == NOTIFY
    assert decide("x86_64", 45, (), specs=(mine, syscalls.Spec("recvfrom", "all", 45, 207))) == NOTIFY


def test_requests_are_those_of_the_header() -> None:
    """The ioctl numbers of seccomp_unotify(2), computed as the header does."""
    assert (abi.IOCTL_RECV, abi.IOCTL_SEND) == (0xC0502100, 0xC0182101)
    assert (abi.IOCTL_ID_VALID, abi.IOCTL_ADDFD) == (0x40082102, 0x40182103)
