"""What each store's documents lead one to expect, beside what was found. Written by hand, after a look."""

from __future__ import annotations

JUDGEMENTS: dict[str, str] = {
    "SQLite, delete, synchronous=full": (
        "To be expected: of `synchronous=EXTRA` SQLite's documents say that it adds the sync of the "
        "directory after the journal is unlinked, for durability when a power loss follows closely "
        "(sqlite.org/pragma.html#pragma_synchronous). The database stays whole."
    ),
    "SQLite, wal, synchronous=normal": (
        "To be expected: a transaction committed in WAL mode with `synchronous=NORMAL` might roll "
        "back following a power loss (sqlite.org/pragma.html#pragma_synchronous). No state of the "
        "database is broken."
    ),
    "Git, core.fsync=default": (
        "To be expected: git-config(1) says of the default, `committed,-loose-object`, that it risks "
        "losing recent work in the event of an unclean shutdown, and leaves out loose objects, "
        "references and the index. The findings are just these: empty objects, an index with a wrong "
        "checksum, a lost reference. That `git fsck` then ends with an error, so that more than "
        "recent work is in doubt, the manual does not say."
    ),
    "Git, core.fsync=all": (
        "Not in the documents: git-config(1) says that `all` syncs all components, but no "
        "directory is ever synced. So under every model the rename of a reference, and with it an "
        "acknowledged commit, may be lost; and on btrfs the link that gives an object its name may be "
        "missing while what was synced later is there. ALICE (OSDI 2014) saw missing syncs of "
        "directories in an older Git. In the first state nothing had been acknowledged: the index "
        "names an object that is not there."
    ),
    "Mercurial": (
        "To be expected after ALICE (OSDI 2014, table 3, ten findings): nothing in the store is "
        "synced before a commit is acknowledged. Mercurial's documents promise a repair of "
        "interrupted transactions (`hg help recover`), not durability."
    ),
    "LevelDB, sync=False": (
        "To be expected: without `sync` a crash of the machine may lose the last few updates "
        "(LevelDB's doc/index.md, Synchronous Writes). The database stays whole."
    ),
    "GDBM": (
        "To be expected: the manual's chapter Crash Tolerance offers failure atomicity as a feature "
        "that has to be asked for, with snapshots; a store that syncs after each value is not atomic. "
        "That a stop in the middle of a store loses a value that was there before, and that a value "
        "can come back wrong without an error, the manual does not say in so many words."
    ),
    "diskcache": (
        "To be expected: its settings are `sqlite_journal_mode=wal` and `sqlite_synchronous=1`, which "
        "is NORMAL (diskcache's documents, Settings), so SQLite's sentence about WAL and NORMAL "
        "holds."
    ),
    "joblib.Memory": (
        "A cache may lose what it has, and joblib computes again what it cannot load. New is the "
        "silent error: the result has no checksum, so one whose data was torn is returned as if it "
        "had been computed. joblib's documents say nothing about crashes."
    ),
    "shelve over dbm.dumb": (
        "To be expected: Python's documents call dbm.dumb a last resort, not written for speed nor as "
        "heavily used as the others, and its index is rewritten in place on close. They do not say "
        "that a stop in the middle of that (no power loss needed) leaves no index at all, and loses "
        "every value."
    ),
    "TinyDB": (
        "To be expected: its documents (Why Not Use TinyDB?) list ACID guarantees among what it does "
        "not have; the file is rewritten in place."
    ),
    "ZODB FileStorage": (
        "We know of no earlier report; its README calls it an ACID transactional database. A transaction is "
        "written, marked as finished and only then synced (`FileStorage._finish`), so that the mark "
        "may be there without the data. A tail that is too short is ignored; zeroes, or the mark over "
        "missing data, are taken for damage or, without checksums, for data, and a value that was "
        "there before comes back wrong. The tool for damaged files (`fsrecover`) was not run: the "
        "documents leave it to the administrator."
    ),
    "DuckDB": (
        "We know of no earlier report; its documents promise ACID transactions. A tail of the write-ahead "
        "log that was not synced and holds zeroes is taken for damage, and the database does not "
        "open, although nothing in it was acknowledged; and a power loss in the middle of a "
        "checkpoint may leave a block whose checksum is wrong."
    ),
    "persist-queue, file": (
        "Half expected: its README says that each item is stored on disk to survive crashes, and "
        "speaks of crashes of the process. Nothing is ever synced: `info` is replaced by rename "
        "without a sync, the data files are appended to without one. A power loss leaves a queue that "
        "cannot be opened."
    ),
}
"""By store."""
