"""Short programs whose outcome after a power loss depends on the file system.

The first five are those from which the models were made; the others look at one rule each. All run
in a directory made by :func:`base`, which is durable before they begin.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from crash_recorder import Recorder

Probe = Callable[[Recorder], object]
CUT = os.O_WRONLY | os.O_TRUNC
APPEND = os.O_WRONLY | os.O_APPEND
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10
"""Modes of fallocate(2)."""


def base(r: Recorder) -> None:
    """Files of some kinds and two directories."""
    r.put("other", b"x" * 10)
    r.put("a", b"old")
    r.put("big", b"A" * 8192)
    r.put("part", b"P" * 100)
    r.put("clean", b"c")
    r.mkdir("d")
    r.mkdir("e")
    r.put("d/f", b"in d")


def other(r: Recorder) -> None:
    """Something else is synced: the journal goes out."""
    r.put("other", b"y" * 5000, sync=True)


def replace_unsynced(r: Recorder) -> None:
    r.put("t", b"N" * 5000)
    r.rename("t", "a")
    other(r)


def publish_unsynced(r: Recorder) -> None:
    r.put("t", b"N" * 5000)
    r.rename("t", "new")
    other(r)


def create_in_new_directory_and_sync(r: Recorder) -> None:
    r.mkdir("n")
    r.put("n/f", b"data", sync=True)


def unlink_and_sync_other(r: Recorder) -> None:
    r.unlink("a")
    other(r)


def replace_and_sync_other_directory(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.sync_path("d")


def replace_and_sync_clean_file(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.sync_path("clean")


def replace_and_sync_changed_directory(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.put("d/z", b"1")
    r.sync_path("d")


def replace_and_sync_directory(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.sync_path(".")


def replace_and_datasync_directory(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.sync_path(".", data_only=True)


def replace_then_overwrite_and_datasync(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.put("big", b"B" * 4096, os.O_WRONLY)
    r.sync_path("big", data_only=True)


def replace_then_overwrite_and_sync(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.put("big", b"B" * 4096, os.O_WRONLY)
    r.sync_path("big")


def append_within_block(r: Recorder) -> None:
    r.put("part", b"Q" * 100, APPEND)
    other(r)


def append_new_block(r: Recorder) -> None:
    r.put("big", b"Q" * 100, APPEND)
    other(r)


def overwrite(r: Recorder) -> None:
    r.put("big", b"B" * 4096, os.O_WRONLY)
    other(r)


def rewrite_and_close(r: Recorder) -> None:
    r.put("a", b"N" * 5000, CUT)
    other(r)


def rewrite_and_keep_open(r: Recorder) -> None:
    r.write(r.open("a", CUT), b"N" * 5000)
    other(r)


def rewrite_and_close_duplicate(r: Recorder) -> None:
    fd = r.open("a", CUT)
    r.dup(fd)
    r.write(fd, b"N" * 5000)
    r.close(fd)
    other(r)


def rewrite_and_close_all_duplicates(r: Recorder) -> None:
    fd = r.open("a", CUT)
    copy = r.dup(fd)
    r.write(fd, b"N" * 5000)
    r.close(fd)
    r.close(copy)
    other(r)


def rewrite_and_close_another_opening(r: Recorder) -> None:
    r.write(r.open("a", CUT), b"N" * 5000)
    r.close(r.open("a"))
    other(r)


def create_unsynced(r: Recorder) -> None:
    r.put("n", b"N" * 5000)
    other(r)


def move_and_sync_old_directory(r: Recorder) -> None:
    r.rename("d/f", "e/g")
    r.sync_path("d")


def move_and_sync_new_directory(r: Recorder) -> None:
    r.rename("d/f", "e/g")
    r.sync_path("e")


def move_and_sync_file(r: Recorder) -> None:
    r.rename("d/f", "e/g")
    r.sync_path("e/g")


def move_out_of_new_directory_and_sync_file(r: Recorder) -> None:
    r.mkdir("n")
    r.put("n/f", b"1")
    r.rename("n/f", "d/g")
    r.sync_path("d/g")


def move_out_of_new_directory_and_datasync_file(r: Recorder) -> None:
    r.mkdir("n")
    r.put("n/f", b"1")
    r.rename("n/f", "d/g")
    r.sync_path("d/g", data_only=True)


def link_out_of_new_directory_and_sync_file(r: Recorder) -> None:
    r.mkdir("n")
    r.put("n/f", b"1")
    r.link("n/f", "d/g")
    r.unlink("n/f")
    r.sync_path("d/g")


def new_file_takes_the_name_of_one_moved_to_a_new_directory(r: Recorder) -> None:
    r.mkdir("n")
    r.rename("a", "n/b")
    r.put("a", b"NEW", sync=True)


def file_takes_the_name_of_one_moved_to_a_new_directory(r: Recorder) -> None:
    r.mkdir("n")
    r.rename("a", "n/b")
    r.rename("part", "a")
    r.sync_path("a")


def new_directory_moved_and_file_in_it_synced(r: Recorder) -> None:
    r.mkdir("n")
    r.mkdir("n/s")
    r.rename("n/s", "d/s")
    r.put("d/s/f", b"1", sync=True)


def link_and_datasync_new_file(r: Recorder) -> None:
    r.put("n", b"1")
    r.link("n", "b")
    r.sync_path("n", data_only=True)


def rename_and_sync_file(r: Recorder) -> None:
    r.rename("a", "b")
    r.sync_path("b")


def rename_and_write_and_sync_file(r: Recorder) -> None:
    r.rename("a", "b")
    r.put("b", b"zz", os.O_WRONLY, sync=True)


def new_file_takes_the_name(r: Recorder) -> None:
    r.rename("a", "b")
    r.put("a", b"NEW", sync=True)


def link_and_sync_file(r: Recorder) -> None:
    r.link("a", "b")
    r.sync_path("a")


def link_elsewhere_and_sync_directory(r: Recorder) -> None:
    r.link("a", "d/a2")
    r.sync_path("d")


def unlink_and_sync_directory(r: Recorder) -> None:
    r.unlink("a")
    r.sync_path(".")


def unlink_one_name_and_sync_file(r: Recorder) -> None:
    r.link("a", "b")
    r.sync()
    r.unlink("a")
    r.sync_path("b")


def mkdir_and_sync_itself(r: Recorder) -> None:
    r.mkdir("n")
    r.sync_path("n")


def mkdir_with_file_and_sync_parent(r: Recorder) -> None:
    r.mkdir("n")
    r.put("n/f", b"q")
    r.sync_path(".")


def mkdir_with_file_and_sync_itself(r: Recorder) -> None:
    r.mkdir("n")
    r.put("n/f", b"q")
    r.sync_path("n")


def rename_directory_and_sync_child(r: Recorder) -> None:
    r.rename("d", "dd")
    r.put("dd/f", b"ZZ", os.O_WRONLY, sync=True)


def chmod_and_datasync(r: Recorder) -> None:
    r.chmod("a", 0o600)
    r.sync_path("a", data_only=True)


def chmod_and_sync(r: Recorder) -> None:
    r.chmod("a", 0o600)
    r.sync_path("a")


def chmod_and_sync_other(r: Recorder) -> None:
    r.chmod("a", 0o600)
    other(r)


def symlink_and_sync_other(r: Recorder) -> None:
    r.symlink("a", "l")
    other(r)


def symlink_and_sync_directory(r: Recorder) -> None:
    r.symlink("a", "l")
    r.sync_path(".")


def preallocate_and_write(r: Recorder) -> None:
    fd = r.open("n", os.O_WRONLY | os.O_CREAT)
    r.fallocate(fd, 0, 8192)
    r.write(fd, b"data")
    r.close(fd)
    other(r)


def preallocate_and_replace(r: Recorder) -> None:
    fd = r.open("t", os.O_WRONLY | os.O_CREAT)
    r.fallocate(fd, 0, 8192)
    r.write(fd, b"N" * 8192)
    r.close(fd)
    r.rename("t", "a")
    other(r)


def preallocate_beyond_the_end_and_replace(r: Recorder) -> None:
    fd = r.open("t", os.O_WRONLY | os.O_CREAT)
    r.fallocate(fd, 0, 8192, KEEP_SIZE)
    r.write(fd, b"N" * 8192)
    r.close(fd)
    r.rename("t", "a")
    other(r)


def preallocate_and_replace_with_more(r: Recorder) -> None:
    fd = r.open("t", os.O_WRONLY | os.O_CREAT)
    r.fallocate(fd, 0, 4096)
    r.write(fd, b"N" * 8192)
    r.close(fd)
    r.rename("t", "a")
    other(r)


def preallocate_what_was_emptied_and_close(r: Recorder) -> None:
    fd = r.open("a", CUT)
    r.fallocate(fd, 0, 8192)
    r.write(fd, b"N" * 8192)
    r.close(fd)
    other(r)


def preallocate_and_empty_and_replace(r: Recorder) -> None:
    fd = r.open("t", os.O_WRONLY | os.O_CREAT)
    r.fallocate(fd, 0, 8192)
    r.truncate(fd, 0)
    r.write(fd, b"N" * 8192)
    r.close(fd)
    r.rename("t", "a")
    other(r)


def extend(r: Recorder) -> None:
    fd = r.open("part", os.O_WRONLY)
    r.truncate(fd, 5000)
    r.close(fd)
    other(r)


def extend_and_write(r: Recorder) -> None:
    fd = r.open("part", os.O_WRONLY)
    r.truncate(fd, 9000)
    r.write(fd, b"Z" * 10, 5000)
    r.close(fd)
    other(r)


def shrink(r: Recorder) -> None:
    fd = r.open("big", os.O_WRONLY)
    r.truncate(fd, 5000)
    r.close(fd)
    other(r)


def shrink_and_append(r: Recorder) -> None:
    fd = r.open("big", os.O_WRONLY)
    r.truncate(fd, 100)
    r.write(fd, b"Z" * 200, 100)
    r.close(fd)
    other(r)


def create_and_datasync(r: Recorder) -> None:
    r.put("n", b"data")
    r.sync_path("n", data_only=True)


def append_and_datasync(r: Recorder) -> None:
    r.put("part", b"Q" * 100, APPEND)
    r.sync_path("part", data_only=True)


def synchronous_create(r: Recorder) -> None:
    r.put("n", b"data", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)


def synchronous_after_plain(r: Recorder) -> None:
    r.put("n", b"A" * 4096)
    fd = r.open("n", os.O_WRONLY | os.O_DSYNC)
    r.write(fd, b"B" * 4096, 4096)
    r.close(fd)


def synchronous_truncation(r: Recorder) -> None:
    r.truncate(r.open("big", os.O_WRONLY | os.O_SYNC), 100)


def synchronous_mode(r: Recorder) -> None:
    r.fchmod(r.open("a", os.O_WRONLY | os.O_SYNC), 0o600)


def synchronous_allocation(r: Recorder) -> None:
    r.fallocate(r.open("part", os.O_WRONLY | os.O_SYNC), 0, 8192)


def synchronous_hole(r: Recorder) -> None:
    r.fallocate(r.open("big", os.O_WRONLY | os.O_SYNC), 0, 4096, PUNCH_HOLE | KEEP_SIZE)


def zero_range(r: Recorder) -> None:
    r.fallocate(r.open("big", os.O_WRONLY), 4000, 8000, ZERO_RANGE)
    other(r)


def zero_range_of_ends(r: Recorder) -> None:
    r.fallocate(r.open("big", os.O_WRONLY), 4000, 200, ZERO_RANGE)
    other(r)


def punch_hole_between_blocks(r: Recorder) -> None:
    r.put("big", b"A" * 8192, APPEND, sync=True)
    r.fallocate(r.open("big", os.O_WRONLY), 4000, 8000, PUNCH_HOLE | KEEP_SIZE)
    other(r)


def punch_hole_to_the_end(r: Recorder) -> None:
    r.fallocate(r.open("big", os.O_WRONLY), 4000, 8000, PUNCH_HOLE | KEEP_SIZE)
    other(r)


def punch_hole_at_odd_end(r: Recorder) -> None:
    r.put("big", b"A" * 100, APPEND, sync=True)
    r.fallocate(r.open("big", os.O_WRONLY), 4096, 8000, PUNCH_HOLE | KEEP_SIZE)
    other(r)


def nothing_synced(r: Recorder) -> None:
    r.put("n", b"data")
    r.rename("n", "a")
    r.unlink("part")


def synced_then_more(r: Recorder) -> None:
    r.put("n", b"A" * 4096, sync=True)
    r.put("n", b"B" * 4096, APPEND)
    r.rename("n", "a")
    other(r)


def second_file_synced(r: Recorder) -> None:
    r.put("n1", b"1")
    r.put("n2", b"2", sync=True)


def second_file_of_directory_synced(r: Recorder) -> None:
    r.put("d/n1", b"1")
    r.put("d/n2", b"2", sync=True)


def range_synced_in_place(r: Recorder) -> None:
    fd = r.open("big", os.O_WRONLY)
    r.write(fd, b"B" * 4096)
    r.sync_file_range(fd, 0, 4096)
    r.close(fd)


def range_synced_at_end(r: Recorder) -> None:
    fd = r.open("n", os.O_WRONLY | os.O_CREAT)
    r.write(fd, b"B" * 4096)
    r.sync_file_range(fd, 0, 4096)
    r.close(fd)
    other(r)


def delete_and_create_again(r: Recorder) -> None:
    r.unlink("a")
    r.put("a", b"again", sync=True)


def delete_directory(r: Recorder) -> None:
    r.unlink("d/f")
    r.rmdir("d")
    other(r)


def link_what_was_synced(r: Recorder) -> None:
    """As Git stores objects: synced under a temporary name, linked to the final one."""
    r.put("tmp_obj", b"object", sync=True)
    r.link("tmp_obj", "object")
    r.unlink("tmp_obj")
    r.put("index.lock", b"index", sync=True)
    r.rename("index.lock", "index")
    r.put("index.lock", b"index 2", sync=True)


def rename_what_was_synced_and_sync_other(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.put("z", b"segment")
    r.rename("t", "a")
    other(r)


def link_what_was_synced_and_sync_other(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.put("z", b"segment")
    r.link("t", "b")
    other(r)


def unlink_what_was_synced_and_sync_other(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.put("z", b"segment")
    r.unlink("t")
    other(r)


def rename_what_was_synced_into_new_directory(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.put("z", b"segment")
    r.mkdir("q")
    r.rename("t", "q/a")
    other(r)


def rename_out_of_synced_directory_and_sync_other(r: Recorder) -> None:
    r.put("d/n", b"new")
    r.sync_path("d")
    r.put("z", b"segment")
    r.rename("d/f", "e/f")
    other(r)


def rename_what_was_synced(r: Recorder) -> None:
    r.put("t", b"new", sync=True)
    r.rename("t", "a")
    r.put("t", b"newer", sync=True)


def move_between_and_sync_other(r: Recorder) -> None:
    r.rename("d/f", "e/g")
    r.put("d/f", b"new", sync=True)


def rename_chain(r: Recorder) -> None:
    r.rename("a", "b")
    r.rename("part", "a")
    r.sync_path("a")


FIRST_FIVE: tuple[Probe, ...] = (
    replace_unsynced,
    publish_unsynced,
    create_in_new_directory_and_sync,
    unlink_and_sync_other,
    replace_and_sync_other_directory,
)

MORE: tuple[Probe, ...] = tuple(
    probe
    for name, probe in list(globals().items())
    if callable(probe)
    and getattr(probe, "__module__", "") == __name__
    and name not in ("base", "other", "random_program")
    and probe not in FIRST_FIVE
)


def random_program(seed: int) -> Probe:
    """A program of a few calls on a few names."""

    def work(r: Recorder) -> None:
        chance = random.Random(seed)
        for _ in range(chance.randint(2, 7)):
            try:
                _random_call(r, chance)
            except OSError:
                pass

    work.__name__ = f"random_{seed}"
    return work


_NAMES = ("a", "big", "part", "n", "d/f", "d/n", "e/n", "d")


def _random_call(r: Recorder, chance: random.Random) -> None:
    name, second = chance.choice(_NAMES), chance.choice(_NAMES)
    data = bytes([chance.randrange(65, 91)]) * chance.choice((3, 100, 5000))
    flags = chance.choice((os.O_CREAT, os.O_TRUNC | os.O_CREAT, os.O_APPEND, os.O_CREAT | os.O_DSYNC, 0))
    kind = chance.choice(
        ("put", "put", "put", "rename", "link", "unlink", "sync", "truncate", "chmod", "mkdir")
    )
    if kind == "put":
        r.put(name, data, os.O_WRONLY | flags, sync=chance.random() < 0.3)
    elif kind == "rename":
        r.rename(name, second)
    elif kind == "link":
        r.link(name, second)
    elif kind == "sync":
        r.sync_path(chance.choice((".", name)), data_only=chance.random() < 0.3)
    elif kind == "truncate":
        fd = r.open(name, os.O_WRONLY)
        r.truncate(fd, chance.choice((0, 50, 4096, 6000)))
        r.close(fd)
    elif kind == "chmod":
        r.chmod(name, chance.choice((0o600, 0o755)))
    elif kind == "unlink":
        r.unlink(name)
    else:
        r.mkdir("new")
