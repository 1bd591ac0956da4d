"""Small programs with one power-loss bug each, and their corrected twins.

``check(tree, promised)`` returns whether a crash state is acceptable. ``found`` are the models under
which the bug shows; the twin must be clean under all of them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crash_recorder import Recorder

Tree = Mapping[str, object]
Work = Callable[[Recorder], None]
REAL = ("ext4", "xfs", "btrfs")
ALL = ("ext4", "ext4-ordered", "xfs", "btrfs", "portable", "strict")
NOT_ORDERED = tuple(model for model in ALL if model != "ext4-ordered")
NOT_EXT4 = ("xfs", "btrfs", "portable", "strict")
LOOSE = ("btrfs", "portable", "strict")
IN_PLACE = tuple(model for model in ALL if model != "btrfs")
"""The models of file systems that overwrite blocks where they are."""
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
OLD, NEW = b"old " * 30, b"new " * 30


@dataclass(frozen=True)
class Program:
    """One bug: what is there before, the wrong and the right way, and what must hold afterwards."""

    name: str
    setup: Work
    wrong: Work
    right: Work
    check: Callable[[Tree, tuple[object, ...]], bool]
    found: tuple[str, ...]
    blamed: str


def nothing(r: Recorder) -> None:
    """An empty directory."""


def old_state(r: Recorder) -> None:
    r.put("state", OLD)


def replaced(sync: bool, directory: bool = True) -> Work:
    def work(r: Recorder) -> None:
        r.put("state.tmp", NEW, sync=sync)
        r.rename("state.tmp", "state")
        if directory:
            r.sync_path(".")

    return work


def replaced_and_promised(directory: bool) -> Work:
    def work(r: Recorder) -> None:
        replaced(True, directory)(r)
        r.promise("new")

    return work


def old_or_new(tree: Tree, promised: tuple[object, ...]) -> bool:
    return tree.get("state") == NEW or (tree.get("state") == OLD and not promised)


def published(sync: bool) -> Work:
    """A new name: there is nothing that ext4 would protect."""

    def work(r: Recorder) -> None:
        r.put("out.part", NEW, sync=sync)
        r.rename("out.part", "out")
        r.sync_path(".")

    return work


def absent_or_whole(tree: Tree, promised: tuple[object, ...]) -> bool:
    return tree.get("out") == NEW or ("out" not in tree and not promised)


def created(directory: bool) -> Work:
    def work(r: Recorder) -> None:
        r.put("out", NEW, sync=True)
        if directory:
            r.sync_path(".")
        r.promise("out")

    return work


def kept_if_promised(tree: Tree, promised: tuple[object, ...]) -> bool:
    return not promised or tree.get("out") == NEW


def logged(sync: bool) -> Work:
    def work(r: Recorder) -> None:
        for number in range(2):
            r.put("log", b"record %d\n" % number, APPEND, sync=sync)
            if sync:
                r.sync_path(".")
            r.promise(number)

    return work


def log_has_promised(tree: Tree, promised: tuple[object, ...]) -> bool:
    log = tree.get("log", b"")
    return isinstance(log, bytes) and all(b"record %d\n" % n in log for n in promised)  # type: ignore[str-bytes-safe]


ROWS = b"row of a table\n" * 600
"""A record over several pages."""


def long_record(framed: bool) -> Work:
    """Appended as it is, or behind a line with its checksum."""

    def work(r: Recorder) -> None:
        r.put("log", b"%08x\n" % zlib.crc32(ROWS) + ROWS if framed else ROWS, APPEND, sync=True)

    return work


def only_whole_records(tree: Tree, promised: tuple[object, ...]) -> bool:
    """A reader takes what has a checksum only if it fits, and everything else as it is."""
    log = tree.get("log", b"")
    assert isinstance(log, bytes)
    head, _, body = log.partition(b"\n")
    if len(head) == 8 or not head.startswith(b"row"):
        body = body if head == b"%08x" % zlib.crc32(body) else b""
    else:
        body = log
    return body in (b"", ROWS)


def two_files(r: Recorder) -> None:
    r.put("index", b"1" * 20)
    r.put("data", b"1" * 20)


def both_updated(journal: bool) -> Work:
    def work(r: Recorder) -> None:
        if journal:
            r.put("both.tmp", b"2" * 40, sync=True)
            r.rename("both.tmp", "both")
            r.sync_path(".")
        else:
            r.put("data", b"2" * 20, os.O_WRONLY)
            r.put("index", b"2" * 20, os.O_WRONLY)

    return work


def files_agree(tree: Tree, promised: tuple[object, ...]) -> bool:
    return "both" in tree or tree["index"] == tree["data"]


def rewritten(safe: bool) -> Work:
    def work(r: Recorder) -> None:
        if safe:
            replaced(True)(r)
        else:
            r.put("state", NEW, os.O_WRONLY | os.O_TRUNC, sync=True)

    return work


def moved(durable: bool) -> Work:
    """Copy to a new place, then delete the original."""

    def work(r: Recorder) -> None:
        r.put("out", NEW, sync=durable)
        if durable:
            r.sync_path(".")
        r.unlink("state")
        r.sync_path(".")

    return work


def one_of_both(tree: Tree, promised: tuple[object, ...]) -> bool:
    return tree.get("state") == OLD or tree.get("out") == NEW


def tree_made(parents: bool) -> Work:
    def work(r: Recorder) -> None:
        r.mkdir("jobs")
        r.mkdir("jobs/1")
        r.put("jobs/1/out", NEW, sync=True)
        r.sync_path("jobs/1")
        if parents:
            r.sync_path("jobs")
            r.sync_path(".")
        r.promise("out")

    return work


def job_is_there(tree: Tree, promised: tuple[object, ...]) -> bool:
    jobs = tree.get("jobs", {})
    job = jobs.get("1", {}) if isinstance(jobs, Mapping) else {}
    return not promised or job.get("out") == NEW


def counter(r: Recorder) -> None:
    r.put("counter", b"5")
    r.put("todo", b"+1")


def replayed(idempotent: bool) -> Work:
    """Apply an intent, then remove it: after a crash it is applied again."""

    def work(r: Recorder) -> None:
        if idempotent:
            r.put("counter.tmp", b"6 done", sync=True)
        else:
            r.put("counter.tmp", b"6", sync=True)
        r.rename("counter.tmp", "counter")
        r.sync_path(".")
        r.unlink("todo")
        r.sync_path(".")

    return work


def six_in_the_end(tree: Tree, promised: tuple[object, ...]) -> bool:
    """What recovery makes of it: an intent that is still there is applied, unless marked as done."""
    value = tree["counter"]
    assert isinstance(value, bytes)
    number = int(value.split()[0])
    if "todo" in tree and b"done" not in value:
        number += 1
    return number == 6


def wrong_descriptor(right: bool) -> Work:
    """The new content goes to one descriptor, the fsync to another file's."""

    def work(r: Recorder) -> None:
        new = r.open("state.tmp", os.O_WRONLY | os.O_CREAT)
        old = r.open("state", os.O_RDONLY)
        r.write(new, NEW)
        r.fsync(new if right else old)
        r.close(new)
        r.close(old)
        r.rename("state.tmp", "state")
        r.sync_path(".")

    return work


def two_directories(r: Recorder) -> None:
    r.mkdir("real")
    r.mkdir("public")
    r.put("real/state", OLD)
    r.symlink("real", "link")


def wrong_directory(right: bool) -> Work:
    """The name lies behind a symbolic link; the directory of the link is synced."""

    def work(r: Recorder) -> None:
        r.put("real/state.tmp", NEW, sync=True)
        r.rename("real/state.tmp", "real/state")
        r.sync_path("real" if right else "public")
        r.promise("new")

    return work


def real_state(tree: Tree, promised: tuple[object, ...]) -> bool:
    return old_or_new(tree["real"], promised)  # type: ignore[arg-type]


def unlinked(durable: bool) -> Work:
    def work(r: Recorder) -> None:
        r.unlink("state")
        if durable:
            r.sync_path(".")
        r.promise("gone")

    return work


def gone_if_promised(tree: Tree, promised: tuple[object, ...]) -> bool:
    return not promised or "state" not in tree


def flagged(ordered: bool) -> Work:
    """A marker says that the data is complete."""

    def work(r: Recorder) -> None:
        r.put("out", NEW, sync=ordered)
        if ordered:
            r.sync_path(".")
        r.put("out.done", b"", sync=ordered)
        r.sync_path(".")

    return work


def flag_means_data(tree: Tree, promised: tuple[object, ...]) -> bool:
    return "out.done" not in tree or tree.get("out") == NEW


def grown(r: Recorder) -> None:
    r.put("table", b"head 0001" + b"row " * 10)


def headed(ordered: bool) -> Work:
    """A row is appended and then the header in the same file counts it."""

    def work(r: Recorder) -> None:
        fd = r.open("table", os.O_WRONLY)
        r.write(fd, b"ROW " * 2000, 49)
        if ordered:
            r.fsync(fd)
        r.write(fd, b"head 0002", 0)
        r.fsync(fd)
        r.close(fd)

    return work


def header_tells_truth(tree: Tree, promised: tuple[object, ...]) -> bool:
    table = tree["table"]
    assert isinstance(table, bytes)
    return not table.startswith(b"head 0002") or table[49:] == b"ROW " * 2000


def linked(sync: bool) -> Work:
    """Publishing by a hard link instead of a rename."""

    def work(r: Recorder) -> None:
        r.put("out.part", NEW, sync=sync)
        r.link("out.part", "out")
        r.sync_path(".")
        r.unlink("out.part")

    return work


def datasynced(whole: bool) -> Work:
    """The mode is part of what was promised; fdatasync does not care for it."""

    def work(r: Recorder) -> None:
        r.chmod("state", 0o600)
        r.sync_path("state", data_only=not whole)
        r.promise("private")

    return work


def rotated(durable: bool) -> Work:
    """The log gets another name, and a new one its name; the old one was never synced."""

    def work(r: Recorder) -> None:
        r.put("log", OLD, sync=durable)
        if durable:
            r.sync_path(".")
        r.rename("log", "log.1")
        r.put("log", NEW, sync=True)
        if durable:
            r.sync_path(".")
        r.promise("rotated")

    return work


def both_logs_if_promised(tree: Tree, promised: tuple[object, ...]) -> bool:
    return not promised or {"log", "log.1"} <= set(tree)


RECORD = b"record of one page ".ljust(4095, b".") + b"\n"


def growing(replaced: bool) -> Work:
    """Records of whole pages are appended and not synced; or the log is replaced by a longer one."""

    def work(r: Recorder) -> None:
        if replaced:
            r.put("log.tmp", RECORD * 3, sync=True)
            r.rename("log.tmp", "log")
        else:
            r.put("log", RECORD, APPEND)
            r.put("log", RECORD, APPEND)

    return work


def no_zero_tail(tree: Tree, promised: tuple[object, ...]) -> bool:
    log = tree["log"]
    assert isinstance(log, bytes)
    return not log.endswith(b"\0")


def first_record(r: Recorder) -> None:
    r.put("log", RECORD)


def two_records(r: Recorder) -> None:
    r.put("table", b"row 1\nrow 2\n")


def cut_back(replaced: bool) -> Work:
    """The last record is taken back, by cutting the file where it begins."""

    def work(r: Recorder) -> None:
        if replaced:
            r.put("table.tmp", b"row 1\n", sync=True)
            r.rename("table.tmp", "table")
        else:
            r.truncate(r.open("table", os.O_WRONLY), 6)
        r.sync_path("." if replaced else "table")

    return work


def whole_rows(tree: Tree, promised: tuple[object, ...]) -> bool:
    return tree["table"] in (b"row 1\nrow 2\n", b"row 1\n")


def three_places(r: Recorder) -> None:
    r.mkdir("d")
    r.put("d/state", OLD)
    r.put("spare", b"spare")


def renamed_twice(synced: bool) -> Work:
    """The old file goes over another one and on, before a new one takes its name."""

    def work(r: Recorder) -> None:
        r.rename("d/state", "spare")
        r.rename("spare", "d/before")
        if synced:
            r.sync_path(".")
            r.sync_path("d")
        r.put("d/state", NEW, sync=True)
        r.promise("spare is gone")

    return work


def no_spare_if_promised(tree: Tree, promised: tuple[object, ...]) -> bool:
    return not promised or "spare" not in tree


def three_files(r: Recorder) -> None:
    r.mkdir("d")
    r.put("d/marker", b"full")
    r.put("journal", b"undo")
    r.put("state", OLD)


def unmarked(synced: bool) -> Work:
    """A marker is emptied before the journal goes; then a file in the journal's directory is renamed."""

    def work(r: Recorder) -> None:
        r.rename("state", "state.1")
        fd = r.open("d/marker", os.O_WRONLY)
        r.truncate(fd, 0)
        if synced:
            r.fsync(fd)
        r.close(fd)
        r.unlink("journal")
        r.sync_path("state.1")

    return work


def journal_or_empty_marker(tree: Tree, promised: tuple[object, ...]) -> bool:
    return "journal" in tree or tree["d"]["marker"] == b""  # type: ignore[index, call-overload]


def removed_and_synced(how: str) -> Work:
    """The file that lost its name is synced, or its directory."""

    def work(r: Recorder) -> None:
        fd = r.open("state", os.O_RDWR)
        r.unlink("state")
        if how == "directory":
            r.sync_path(".")
        else:
            getattr(r, how)(fd)
        r.promise("gone")

    return work


def short_head(r: Recorder) -> None:
    r.put("table", b"old!")


def allocated_first(ordered: bool) -> Work:
    """Space is allocated, then a head that stands for the rows after it is written with them."""

    def work(r: Recorder) -> None:
        fd = r.open("table", os.O_WRONLY)
        r.fallocate(fd, 0, 8192)
        if ordered:
            r.write(fd, b"row." * 100, 4)
            r.fsync(fd)
            r.write(fd, b"new!", 0)
        else:
            r.write(fd, b"new!" + b"row." * 100, 0)
        r.fsync(fd)
        r.close(fd)

    return work


def new_head_has_rows(tree: Tree, promised: tuple[object, ...]) -> bool:
    table = tree["table"]
    assert isinstance(table, bytes)
    return not table.startswith(b"new!") or table[4:404] == b"row." * 100


def reserved(synced: bool) -> Work:
    """A part of what was just written is allocated, which journals a size of its own."""

    def work(r: Recorder) -> None:
        r.put("out.tmp" if synced else "out", b"P" * 8192, sync=synced)
        if synced:
            r.rename("out.tmp", "out")
            r.sync_path(".")
        fd = r.open("out", os.O_WRONLY)
        r.fallocate(fd, 50, 5000)
        r.close(fd)

    return work


def whole_pages(tree: Tree, promised: tuple[object, ...]) -> bool:
    out = tree.get("out", b"")
    assert isinstance(out, bytes)
    return len(out) % 4096 == 0


def headed_later(synced: bool) -> Work:
    """The rows are written behind a gap, which the head then fills."""

    def work(r: Recorder) -> None:
        fd = r.open("table", os.O_WRONLY | os.O_CREAT)
        r.write(fd, RECORD, 4096)
        if synced:
            r.fsync(fd)
        r.write(fd, b"head", 0)
        r.close(fd)

    return work


def not_the_head_alone(tree: Tree, promised: tuple[object, ...]) -> bool:
    table = tree.get("table", b"")
    assert isinstance(table, bytes)
    return len(table) != 4096


def trimmed(replaced: bool) -> Work:
    """A record is appended, and the file set to the size that it has by then."""

    def work(r: Recorder) -> None:
        name = "log.tmp" if replaced else "log"
        r.put(name, RECORD * (2 if replaced else 1), APPEND, sync=replaced)
        r.truncate(r.open(name, os.O_WRONLY), 8192)
        if replaced:
            r.sync_path(name)
            r.rename(name, "log")

    return work


def kept_writing(directory: bool) -> Work:
    """The file that was replaced is written and synced once more, through a descriptor."""

    def work(r: Recorder) -> None:
        fd = r.open("state", os.O_RDWR)
        r.put("state.tmp", NEW, sync=True)
        r.rename("state.tmp", "state")
        r.write(fd, b"over", 0)
        r.fsync(fd)
        if directory:
            r.sync_path(".")
        r.promise("new")

    return work


def new_if_promised(tree: Tree, promised: tuple[object, ...]) -> bool:
    return not promised or tree.get("state") == NEW


PROGRAMS = (
    Program("replace without fsync", old_state, replaced(False), replaced(True), old_or_new,
            NOT_ORDERED, "rename-before-sync"),
    Program("publish without fsync", nothing, published(False), published(True), absent_or_whole,
            ALL, "rename-before-sync"),
    Program("create without directory", nothing, created(False), created(True), kept_if_promised,
            ("strict",), "directory-not-synced"),
    Program("rename without directory", old_state, replaced_and_promised(False),
            replaced_and_promised(True), old_or_new, ALL, "directory-not-synced"),
    Program("unlink without directory", old_state, unlinked(False), unlinked(True), gone_if_promised,
            ALL, "directory-not-synced"),
    Program("parents without directory", nothing, tree_made(False), tree_made(True), job_is_there,
            ("strict",), "directory-not-synced"),
    Program("acknowledged before fsync", nothing, logged(False), logged(True), log_has_promised,
            ALL, "acknowledged-before-sync"),
    Program("torn tail", nothing, long_record(False), long_record(True), only_whole_records,
            ALL, "stopped-between"),
    Program("two files", two_files, both_updated(False), both_updated(True), files_agree,
            ALL, "stopped-between"),
    Program("truncate then write", old_state, rewritten(False), rewritten(True), old_or_new,
            ALL, "stopped-between"),
    Program("delete before durable", old_state, moved(False), moved(True), one_of_both,
            ALL, "not-ordered"),
    Program("replay not idempotent", counter, replayed(False), replayed(True), six_in_the_end,
            ALL, "stopped-between"),
    Program("wrong descriptor", old_state, wrong_descriptor(False), wrong_descriptor(True), old_or_new,
            NOT_ORDERED, "rename-before-sync"),
    Program("wrong directory", two_directories, wrong_directory(False), wrong_directory(True), real_state,
            NOT_EXT4, "directory-not-synced"),
    Program("marker before data", nothing, flagged(False), flagged(True), flag_means_data,
            ALL, "not-ordered"),
    Program("header before rows", grown, headed(False), headed(True), header_tells_truth,
            ALL, "not-ordered"),
    Program("link without fsync", nothing, linked(False), linked(True), absent_or_whole,
            ALL, "rename-before-sync"),
    Program("rotate without fsync", nothing, rotated(False), rotated(True), both_logs_if_promised,
            LOOSE, "rename-in-halves"),
    Program("zero tail of a growing log", first_record, growing(False), growing(True), no_zero_tail,
            ("ext4", "btrfs", "portable", "strict"), "stopped-between"),
    Program("cut inside a block", two_records, cut_back(False), cut_back(True), whole_rows,
            IN_PLACE, "stopped-between"),
    Program("name of a moment", three_places, renamed_twice(False), renamed_twice(True),
            no_spare_if_promised, LOOSE, "rename-in-halves"),
    Program("marker in another directory", three_files, unmarked(False), unmarked(True),
            journal_or_empty_marker, LOOSE, "not-ordered"),
    Program("fdatasync of what has no name", old_state, removed_and_synced("fdatasync"),
            removed_and_synced("directory"), gone_if_promised,
            tuple(model for model in ALL if model != "xfs"), "directory-not-synced"),
    Program("fsync of what has no name", old_state, removed_and_synced("fsync"),
            removed_and_synced("directory"), gone_if_promised, LOOSE, "directory-not-synced"),
    Program("allocated and overwritten", short_head, allocated_first(False), allocated_first(True),
            new_head_has_rows, IN_PLACE, "not-ordered"),
    Program("allocated behind the end", nothing, reserved(False), reserved(True), whole_pages,
            ("ext4", "ext4-ordered", "portable", "strict"), "not-ordered"),
    Program("head in a gap", nothing, headed_later(False), headed_later(True), not_the_head_alone,
            IN_PLACE, "not-ordered"),
    Program("set to its own size", first_record, trimmed(False), trimmed(True), no_zero_tail,
            ("ext4", "btrfs", "portable", "strict"), "stopped-between"),
    Program("written after it was replaced", old_state, kept_writing(False), kept_writing(True),
            new_if_promised, LOOSE, "acknowledged-before-sync"),
)  # fmt: skip
