"""A target has one name, however a call reaches it; and only what lies below the root has one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.inject.base import Command, Ran
from chaoskit.inject.kernel.files import calls
from chaoskit.inject.kernel.workload import paths

Record = Callable[[Callable[[], Any]], Ran]


def targets(ran: Ran, call: str = "open") -> list[str]:
    return [operation.target for operation in ran.trace if operation.call == call]


def make(path: str, content: bytes = b"") -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


WAYS: dict[str, Callable[[str], Any]] = {
    "plain": lambda root: f"{root}/d/a",
    "detours": lambda root: f"{root}//d/./../d/a",
    "a linked directory": lambda root: f"{root}/to-d/a",
    "a link to the file": lambda root: f"{root}/to-a",
    "links in a row": lambda root: f"{root}/to-to-a",
    "relative": lambda root: "d/a",
    "own working directory": lambda root: "/proc/self/cwd/d/a",
    "the thread's": lambda root: "/proc/thread-self/cwd/d/a",
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_every_way_to_a_file_gives_the_same_target(root: str, record: Record, way: str) -> None:
    """Links, detours, relative names and /proc lead to the one name below the root."""
    os.mkdir(f"{root}/d")
    make(f"{root}/d/a")
    os.symlink("d", f"{root}/to-d")
    os.symlink(f"{root}/d/a", f"{root}/to-a")
    os.symlink("to-a", f"{root}/to-to-a")

    def work() -> None:
        os.chdir(root)
        os.close(os.open(WAYS[way](root), os.O_RDONLY))

    assert targets(record(work)) == ["d/a"]


def test_a_name_relative_to_a_directory_descriptor_is_resolved(root: str, record: Record) -> None:
    """dir_fd counts, and so does the directory's name at the time of the call."""
    os.mkdir(f"{root}/d")

    def work() -> None:
        base = os.open(f"{root}/d", os.O_RDONLY)
        os.mkdir("x", dir_fd=base)
        os.rename(f"{root}/d", f"{root}/e")
        os.mkdir("y", dir_fd=base)

    assert targets(record(work), "mkdir") == ["d/x", "e/y"]


def test_descriptors_can_be_opened_again_by_name(root: str, record: Record) -> None:
    """/dev/fd and /proc/self/fd are the workload's, never the supervisor's."""
    make(f"{root}/a", b"content")

    def work() -> list[bytes]:
        fd = os.open(f"{root}/a", os.O_RDONLY)
        return [open(f"{where}/{fd}", "rb").read() for where in ("/dev/fd", "/proc/self/fd")]

    ran = record(work)
    assert ran.value == [b"content", b"content"]
    assert targets(ran) == ["a", "a", "a"]


def test_the_standard_streams_of_a_command_are_its_own(root: str, run: Any) -> None:
    """/dev/stdout, redirected below the root, is the file there."""
    ran = run(Command(("sh", "-c", "echo x > /dev/stdout"), promise_stdout=False), record=True)
    assert ran.ok
    ran = run(Command(("sh", "-c", f"exec > {root}/a; echo x > /dev/stdout")), record=True)
    assert ran.ok
    assert targets(ran) == ["a", "a"]


def test_a_link_that_leads_nowhere_is_created_where_it_leads(root: str, record: Record) -> None:
    """Opening a dangling link with O_CREAT makes the file that the link names."""
    os.symlink("real", f"{root}/dangling")
    ran = record(lambda: os.close(os.open(f"{root}/dangling", os.O_CREAT | os.O_WRONLY)))
    assert targets(ran) == ["real"]
    assert ran.trace[0].file.created
    assert os.path.exists(f"{root}/real")


def test_links_in_a_circle_end(root: str, run: Any) -> None:
    """A circle of links is an error of the call and no hang."""
    os.symlink("b", f"{root}/a")
    os.symlink("a", f"{root}/b")
    ran = run(lambda: os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY), record=True)
    assert "Too many levels" in str(ran.error)


def test_a_link_from_outside_into_the_root_counts(root: str, disk: str, record: Record) -> None:
    """What lies below the root counts by whatever name it is reached."""
    os.symlink(root, f"{disk}/in")
    assert targets(record(lambda: os.mkdir(f"{disk}/in/d")), "mkdir") == ["d"]


def test_a_link_out_of_the_root_does_not_count(root: str, disk: str, record: Record) -> None:
    """What lies elsewhere does not count, though its name begins below the root."""
    os.symlink(disk, f"{root}/out")
    assert [one.call for one in record(lambda: os.mkdir(f"{root}/out/d")).trace] == ["end"]


def test_what_happens_elsewhere_is_not_recorded(root: str, disk: str, record: Record) -> None:
    """Neither other directories nor a neighbour whose name begins like the root's."""
    neighbour = f"{root}-neighbour"

    def work() -> None:
        make(f"{disk}/a", b"x")
        os.mkdir(neighbour)
        os.rmdir(neighbour)
        os.listdir("/")
        os.write(1, b"")

    assert [one.call for one in record(work).trace] == ["end"]


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe not utf-8",
        b"n" * 255,
        b"x (deleted)",
        b"line\nfeed\\012",
        b" blanks ",
        "ü\N{SNOWMAN}\N{GRINNING FACE}".encode(),
    ],
)
def test_any_name_is_told_exactly(root: str, record: Record, name: bytes) -> None:
    """Names are bytes: what no encoding knows comes back as it was, for names and for descriptors."""
    path = os.fsencode(root) + b"/" + name

    def work() -> None:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.rename(path, os.fsencode(root) + b"/other")

    ran = record(work)
    for call in ("open", "write", "rename"):
        assert [os.fsencode(target) for target in targets(ran, call)] == [name]


def test_a_deleted_file_keeps_its_name(root: str, record: Record) -> None:
    """Calls on a file that has lost its name go by that name, even where another file looks like it."""
    make(f"{root}/a (deleted)")

    def work() -> None:
        fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY)
        os.unlink(f"{root}/a")
        os.write(fd, b"x")
        os.write(os.open(f"{root}/a (deleted)", os.O_WRONLY), b"y")

    assert targets(record(work), "write") == ["a", "a (deleted)"]


def test_a_file_that_was_renamed_goes_by_its_new_name(root: str, record: Record) -> None:
    """The target of a descriptor is the name that its file has now."""

    def work() -> None:
        with open(f"{root}/a", "wb", buffering=0) as file:
            os.rename(f"{root}/a", f"{root}/b")
            file.write(b"x")

    assert targets(record(work), "write") == ["b"]


def test_the_root_itself_is_a_dot(root: str, record: Record) -> None:
    """Calls on the scenario's own directory have a target too."""
    assert targets(record(lambda: os.listdir(root)), "getdents") == [".", "."]


def test_opening_a_mere_path_is_no_operation(root: str, record: Record) -> None:
    """O_PATH opens nothing: it cannot fail as an open does."""
    make(f"{root}/a")
    assert targets(record(lambda: os.close(os.open(f"{root}/a", os.O_PATH)))) == []


def test_resolving_ends_at_what_is_there(root: str) -> None:
    """The last part of a path may be missing; its directory may not."""
    assert paths.resolve(f"{root}/new", follow=True) == f"{root}/new"
    assert paths.resolve(f"{root}/.", follow=False) == root
    assert paths.resolve(f"{root}/none/new", follow=True) == f"{root}/none/new"
    assert paths.below(root, root) == "."
    assert paths.below(root, f"{root}x") is None


def test_maps_are_read_as_the_kernel_writes_them(root: str) -> None:
    """A mapping's file is found by address, odd names included; elsewhere there is none."""
    import mmap

    path = make(os.fsdecode(os.fsencode(root) + b"/odd\n\xff name"), b"x" * 4096)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
        import ctypes

        held = ctypes.c_char.from_buffer(mapped)
        found = calls.mapped_at(os.getpid(), ctypes.addressof(held))
        # Before the mapping ends: a failure here must not be told as one of closing it.
        del held
        assert found == (path, 0)
    assert calls.mapped_at(os.getpid(), 4096)[0] is None
    assert calls.mapped_at(2**22 + 1, 4096)[0] is None


def test_a_relative_name_just_below_the_longest(root: str, record: Record) -> None:
    """What the supervisor puts before a relative name does not make it too long for the caller."""

    def work() -> None:
        os.chdir(root)
        make("./" * 2040 + "file")

    ran = record(work)
    assert targets(ran) == ["file"]
    assert os.path.exists(f"{root}/file")


def test_a_directory_deeper_than_the_longest_name(root: str, record: Record) -> None:
    """What has no name that is short enough to tell does not end the supervisor."""

    def work() -> bool:
        os.chdir(root)
        for _ in range(25):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        make("a")
        os.rename("a", "b")
        return os.path.exists("b")

    assert record(work).value
