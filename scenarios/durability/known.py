"""Known findings: by store, each schedule that shows one, with the models and what comes of it.

The crash state of each is one that the model allows, and the replay line shows it. Names of
temporary files and objects are those of one recording.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "DuckDB": (
        "cannot open under ext4, xfs, btrfs: write(store.duckdb.wal)#4=power_loss[zero 4]",
        "cannot open under ext4, xfs, btrfs: write(store.duckdb)#2=power_loss[drop 4]",
    ),
    "LevelDB, sync=False": ("data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1]",),
    "Mercurial": (
        "cannot open under ext4, xfs, btrfs: write(work/third)#1=power_loss[drop 70]",
        "cannot open under ext4, xfs, btrfs: hg~4:rename(work/.hg/journal.desc -> work/.hg/undo.des"
        "c)#1=power_loss[drop 54,182]",
    ),
    "TinyDB": ("cannot open under ext4, xfs, btrfs: write(store.json)#1=power_loss[drop 1]",),
    "ZODB FileStorage": (
        "cannot open under ext4, xfs, btrfs: write(store.fs)#4=power_loss[drop 6-7]",
        "cannot open under ext4: write(store.fs)#4=power_loss[zero 3]",
        "silent error under xfs, btrfs: write(store.fs)#4=power_loss[drop 8-9]",
    ),
    "diskcache": ("data loss under ext4, xfs, btrfs: promise()#1=power_loss[zero 40]",),
    "joblib.Memory": (
        "cannot open under ext4, xfs, btrfs: promise()#1=power_loss[drop 8]",
        "silent error under ext4, xfs: promise()#1=power_loss[torn 11@501]",
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1-3,5-7]",
    ),
    "persist-queue, file": (
        "cannot open under xfs, btrfs: promise()#1=power_loss[drop 4]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[drop 7]",
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1-3]",
    ),
    "shelve over dbm.dumb": (
        "cannot open under ext4, xfs, btrfs: write(store.dir)#1=power_loss[zero 2]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[zero 23]",
        "silent error under ext4, xfs, btrfs: promise()#2=power_loss[torn 50@1536]",
        "cannot open under ext4, xfs, btrfs: rename(store.dir -> store.bak)#1=power_loss[all]",
        "data loss under ext4, xfs, btrfs: open(store.dir)#3=power_loss[drop 6]",
        "data loss under ext4, xfs, btrfs: open(store.dir)#3=power_loss[drop 9]",
        "data loss under ext4, xfs, btrfs: open(store.dir)#3=power_loss[all]",
        "cannot open under ext4, xfs, btrfs: promise()#1=power_loss[drop 1,3-4]",
    ),
    "GDBM": (
        "data loss under ext4, xfs, btrfs: gdbmtool~1:write(store.gdbm)#3=power_loss[all]",
        "silent error under ext4, xfs, btrfs: gdbmtool~1:write(store.gdbm)#4=power_loss[zero 6]",
    ),
    "Git, core.fsync=all": (
        "cannot open under btrfs: git~2:fsync(work/.git/refs/heads/main.lock)#1=power_loss[keep 28-30 btrfs]",
        "data loss under btrfs: git~4:fsync(work/.git/objects/b3/tmp_ob*)#1=power_loss[drop 3-16]",
        "cannot open under btrfs: git~5:fsync(work/.git/index.lock)#1=power_loss[drop 1-2,6,9-10,14"
        "-28,37-38,56-59]",
    ),
    "Git, core.fsync=default": (
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[drop 1-9,11,13,15,17-21,23]",
        "cannot open under ext4, xfs, btrfs: promise()#1=power_loss[drop 37]",
        "cannot open under ext4, xfs, btrfs: git~4:link(work/.git/objects/b3/tmp_ob* -> work/.git/o"
        "bjects/b3/4798b038e80146396ad1c894625bdd9d0aa803)#1=power_loss[drop 2]",
        "cannot open under ext4, xfs, btrfs: git~5:mkdir(work/.git/objects/da)#1=power_loss[drop 58]",
        "cannot open under xfs, btrfs: git~6:open(work/.git/objects/maintenance.lock)#1=power_loss[drop 29]",
        "data loss under ext4, xfs, btrfs: promise()#2=power_loss[drop 1-9,11,13,15,17-21,23-24]",
        "cannot open under ext4, xfs, btrfs: promise()#2=power_loss[drop 21]",
    ),
    "SQLite, delete, synchronous=full": (
        "data loss under ext4, xfs, btrfs: promise()#2=power_loss[only-synced ext4]",
    ),
    "SQLite, wal, synchronous=normal": (
        "data loss under ext4, xfs, btrfs: promise()#1=power_loss[torn 16@384]",
    ),
}
