"""Known findings by store: schedules, with the models for which each stands and what comes of it.

``python -m scenarios.durability.table`` prints these lines from a report, and ``confirm.py`` confirms each:
its crash state is rebuilt and judged under each model named. Where a model shows a finding only with
more missing, it has a separate line. Names of temporary files and objects are those of one recording.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "SQLite, delete, synchronous=full": (
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[only-synced ext4]",
    ),
    "SQLite, wal, synchronous=normal": (
        "data loss under ext4, xfs, btrfs: write(store.db-wal)#15=power_loss[zero 13]",
    ),
    "Git, core.fsync=default": (
        "cannot open under ext4, xfs, btrfs: open(work/third)#1=power_loss[drop 23]",
        "cannot open under ext4, xfs, btrfs: git~4:mkdir(work/.git/objects/b3)#1=power_loss[drop 47]",
        "cannot open under ext4, xfs, btrfs: git~5:mkdir(work/.git/objects/da)#1=power_loss[drop 16]",
        "cannot open under ext4, xfs, btrfs: git~5:mkdir(work/.git/objects/da)#1=power_loss[drop 31]",
        "cannot open under xfs, btrfs: git~5:link(work/.git/objects/da/tmp_obj_* -> work/.git/objects"
        "/da/7ebb35be004a6d45d635f109f009807b445d74)#1=power_loss[drop 13-15]",
        "data loss under ext4, xfs, btrfs: promise()#2=power_loss[drop 1-8]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[drop 24]",
    ),
    "Git, core.fsync=all": (
        "data loss under btrfs: git~4:fsync(work/.git/index.lock)#1=power_loss[drop 1-2,6-19]",
        "cannot open under btrfs: git~5:fsync(work/.git/index.lock)#1=power_loss[drop 1-2,6,9-10]",
    ),
    "Mercurial": (
        "cannot open under ext4, xfs, btrfs: hg~2:write(work/.hg/wcache/.manifestfulltextcache-*~)#"
        "1=power_loss[drop 81]",
        "cannot open under ext4, btrfs: hg~3:open(work/.hg/.dirstate-*~)#1=power_loss[zero 66]",
        "cannot open under ext4, xfs, btrfs: hg~4:write(work/.hg/store/journal)#4=power_loss[drop 153]",
        "cannot open under ext4, xfs, btrfs: hg~4:chmod(work/.hg/cache/.branch2-served-*~)#1=power_"
        "loss[drop 56-58]",
        "data loss under ext4, xfs: promise()#2=power_loss[drop 1-4,6-13,15-25]",
    ),
    "LevelDB, sync=False": ("data loss under ext4, xfs, btrfs: promise()#1=power_loss[zero 5]",),
    "GDBM": (
        "data loss under ext4, xfs, btrfs: gdbmtool~1:write(store.gdbm)#3=power_loss[all]",
        "silent error under ext4, xfs, btrfs: gdbmtool~1:write(store.gdbm)#4=power_loss[zero 7]",
    ),
    "diskcache": ("data loss under ext4, xfs, btrfs: write(store/cache.db-wal)#77=power_loss[zero 40]",),
    "joblib.Memory": ("data loss under ext4, xfs, btrfs: promise()#1=power_loss[zero 12]",),
    "shelve over dbm.dumb": (
        "cannot open under ext4: write(store.dir)#1=power_loss[zero 2]",
        "cannot open under xfs: promise()#1=power_loss[drop 9-10,17-18,20-22]",
        "cannot open under btrfs: write(store.dir)#4=power_loss[zero 3]",
        "cannot open under ext4, btrfs: write(store.dir)#4=power_loss[zero 7]",
        "cannot open under xfs: write(store.dat)#3=power_loss[zero 29]",
        "silent error under ext4, xfs, btrfs: promise()#1=power_loss[zero 24]",
        "cannot open under ext4, xfs, btrfs: rename(store.dir -> store.bak)#1=power_loss[all]",
        "data loss under ext4, xfs, btrfs: open(store.dir)#3=power_loss[all]",
        "cannot open under ext4: promise()#1=power_loss[zero 2]",
        "cannot open under xfs, btrfs: promise()#1=power_loss[drop 1,3-4]",
    ),
    "TinyDB": ("cannot open under ext4, xfs, btrfs: write(store.json)#1=power_loss[zero 5]",),
    "ZODB FileStorage": (
        "cannot open under ext4: write(store.fs)#1=power_loss[zero 2]",
        "cannot open under xfs, btrfs: write(store.fs)#4=power_loss[zero 9]",
        "cannot open under ext4, btrfs: write(store.fs)#4=power_loss[zero 4]",
        "silent error under ext4, xfs, btrfs: write(store.fs)#4=power_loss[zero 11]",
    ),
    "DuckDB": (
        "cannot open under ext4, btrfs: write(store.duckdb.wal)#2=power_loss[zero 3]",
        "cannot open under xfs: write(store.duckdb.wal)#4=power_loss[zero 5]",
        "cannot open under ext4, xfs, btrfs: write(store.duckdb)#2=power_loss[drop 4]",
    ),
    "persist-queue, file": (
        "cannot open under xfs, btrfs: promise()#1=power_loss[drop 4]",
        "cannot open under ext4: promise()#1=power_loss[zero 5]",
        "cannot open under ext4, btrfs: promise()#1=power_loss[zero 9]",
        "cannot open under xfs: promise()#1=power_loss[zero 13]",
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1-3]",
    ),
}

FINDINGS: dict[str, tuple[str, ...]] = {
    "DuckDB": (
        "c04b83",
        "bc0232",
    ),
    "GDBM": (
        "3fd72c",
        "caf1fb",
    ),
    "Git, core.fsync=all": (
        "a4c72a",
        "9ccc52",
        "f94f6d",
    ),
    "Git, core.fsync=default": (
        "84061c",
        "9ccc52",
        "b0e6d3",
        "216b8b",
        "23cc75",
        "98796c",
        "3d9401",
    ),
    "LevelDB, sync=False": ("af4ada",),
    "Mercurial": (
        "557b79",
        "aa828d",
        "337df5",
        "b2684e",
    ),
    "SQLite, delete, synchronous=full": ("4d71a9",),
    "SQLite, wal, synchronous=normal": (
        "8cd8b8",
        "c1fb0d",
    ),
    "TinyDB": ("cbf712",),
    "ZODB FileStorage": (
        "ecdded",
        "5a03a6",
        "863907",
    ),
    "diskcache": (
        "e006d1",
        "2d1b7e",
    ),
    "joblib.Memory": (
        "b3f234",
        "ac6b90",
    ),
    "persist-queue, file": (
        "d2baa3",
        "b6733d",
    ),
    "shelve over dbm.dumb": (
        "4744c1",
        "345e70",
        "a8b6c0",
        "49b4cb",
    ),
}
"""By store the ids of its findings: each is one cause, which several of the schedules above may show."""
