"""Known findings by store: schedules, with the models for which each stands and what comes of it.

``python -m scenarios.durability.table`` prints these lines from a report, and ``confirm.py`` confirms each:
its crash state is rebuilt and judged under each model named. Where a model shows a finding only with
more missing, it has a separate line. Names of temporary files and objects are those of one recording.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "SQLite, delete, synchronous=full": (
        "data loss under ext4, xfs, btrfs: promise()#2=power_loss[only-synced ext4]",
    ),
    "SQLite, wal, synchronous=normal": ("data loss under ext4, xfs, btrfs: promise()#2=power_loss[drop 1]",),
    "Git, core.fsync=default": (
        "data loss under ext4, xfs, btrfs: promise()#2=power_loss[drop 1-8]",
        "cannot open under ext4, xfs, btrfs: promise()#1=power_loss[drop 37]",
        "cannot open under ext4, xfs, btrfs: git~4:link(work/.git/objects/b3/tmp_ob* -> work/.git/o"
        "bjects/b3/4798b038e80146396ad1c894625bdd9d0aa803)#1=power_loss[drop 2]",
        "cannot open under ext4, xfs, btrfs: git~5:mkdir(work/.git/objects/da)#1=power_loss[drop 58]",
        "cannot open under xfs, btrfs: git~6:open(work/.git/objects/maintenance.lock)#1=power_loss[drop 29]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[drop 21]",
    ),
    "Git, core.fsync=all": (
        "cannot open under btrfs: git~2:fsync(work/.git/refs/heads/main.lock)#1=power_loss[keep 26-30 btrfs]",
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1-8]",
    ),
    "Mercurial": (
        "cannot open under ext4, xfs, btrfs: write(work/third)#1=power_loss[drop 70]",
        "cannot open under ext4, xfs, btrfs: hg~4:rename(work/.hg/journal.desc -> work/.hg/undo.des"
        "c)#1=power_loss[drop 54]",
    ),
    "LevelDB, sync=False": ("data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1]",),
    "GDBM": (
        "data loss under ext4, xfs, btrfs: gdbmtool~1:write(store.gdbm)#3=power_loss[all]",
        "silent error under ext4, xfs, btrfs: gdbmtool~1:write(store.gdbm)#4=power_loss[zero 6]",
    ),
    "diskcache": ("data loss under ext4, xfs, btrfs: write(store/cache.db-wal)#71=power_loss[zero 42]",),
    "joblib.Memory": (
        "silent error under ext4, xfs: promise()#1=power_loss[torn 11@501]",
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 8]",
    ),
    "shelve over dbm.dumb": (
        "cannot open under ext4: write(store.dir)#1=power_loss[zero 2]",
        "cannot open under xfs, btrfs: promise()#1=power_loss[drop 17-18,20-21]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[zero 23]",
        "silent error under ext4, xfs: promise()#2=power_loss[torn 50@1536]",
        "silent error under btrfs: write(store.dir)#2=power_loss[drop 14-15]",
        "cannot open under ext4, xfs, btrfs: rename(store.dir -> store.bak)#1=power_loss[all]",
        "data loss under ext4, xfs, btrfs: open(store.dir)#3=power_loss[all]",
        "cannot open under ext4, xfs, btrfs: promise()#1=power_loss[drop 1,3-4]",
    ),
    "TinyDB": ("cannot open under ext4, xfs, btrfs: write(store.json)#1=power_loss[drop 1]",),
    "ZODB FileStorage": (
        "cannot open under xfs, btrfs: write(store.fs)#4=power_loss[drop 6-7]",
        "cannot open under ext4: write(store.fs)#3=power_loss[zero 10,12]",
        "cannot open under ext4: write(store.fs)#4=power_loss[zero 3]",
        "silent error under xfs, btrfs: write(store.fs)#4=power_loss[drop 8-9]",
    ),
    "DuckDB": (
        "cannot open under ext4, xfs, btrfs: write(store.duckdb.wal)#4=power_loss[zero 4]",
        "cannot open under ext4, xfs, btrfs: write(store.duckdb)#2=power_loss[drop 4]",
    ),
    "persist-queue, file": (
        "cannot open under xfs, btrfs: promise()#1=power_loss[drop 4]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[drop 7]",
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1-3]",
    ),
}
