"""Files and directories that survive a crash: written whole, appended to, published, flagged, cleaned up."""

from __future__ import annotations

from chaoskit.runtime.durable.files.append_log import AppendLog
from chaoskit.runtime.durable.files.directories import make_directories
from chaoskit.runtime.durable.files.flag import Flag, FlagInfo
from chaoskit.runtime.durable.files.leftovers import clean_leftovers
from chaoskit.runtime.durable.files.log_reading import read_log
from chaoskit.runtime.durable.files.publishing import publish_directory
from chaoskit.runtime.durable.files.writing import open_atomic, write_file

__all__ = [
    "AppendLog",
    "Flag",
    "FlagInfo",
    "clean_leftovers",
    "make_directories",
    "open_atomic",
    "publish_directory",
    "read_log",
    "write_file",
]
