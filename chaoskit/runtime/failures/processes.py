"""Rules for what a process left behind: first its words on standard error, then its exit code.

Sources: exit codes of timeout(1), bash(1) (128 + signal) and sysexits(3h). The words are in ``words.py``.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.rules import Rule
from chaoskit.runtime.failures.words import WORDS

__all__ = ["PROCESSES"]

# By number: Windows lacks most of the names, and exit codes may come from other machines.
_SIGNALS = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "ILL": 4,
    "TRAP": 5,
    "ABRT": 6,
    "BUS": 7,
    "FPE": 8,
    "KILL": 9,
    "USR1": 10,
    "SEGV": 11,
    "USR2": 12,
    "PIPE": 13,
    "ALRM": 14,
    "TERM": 15,
    "XCPU": 24,
    "XFSZ": 25,
    "SYS": 31,
}


def _killed_by(*names: str) -> tuple[int, ...]:
    numbers = [_SIGNALS[name] for name in names]
    # A shell adds 128 to the number; subprocess negates it.
    return (*(128 + n for n in numbers), *(-n for n in numbers))


_EXIT_CODES = (
    Rule(
        name="exit.killed",
        verdict=t.OutOfMemory,
        exit_codes=_killed_by("KILL"),
        why="an unrequested SIGKILL is in practice the kernel's, for lack of memory",
    ),
    Rule(
        name="exit.timeout",
        verdict=t.Overloaded,
        exit_codes=(124, *_killed_by("ALRM")),
        why="timeout(1), or its own alarm, ended it",
    ),
    Rule(
        name="exit.interrupted",
        verdict=t.PermanentError,
        exit_codes=_killed_by("INT", "QUIT"),
        why="the user pressed Ctrl-C and does not want it repeated",
    ),
    Rule(
        name="exit.terminated",
        verdict=t.TransientError,
        exit_codes=_killed_by("TERM", "HUP"),
        why="the machine or the scheduler stopped it",
    ),
    Rule(
        name="exit.pipe",
        verdict=t.TransientError,
        exit_codes=_killed_by("PIPE"),
        why="its reader went away",
    ),
    Rule(
        name="exit.file-too-large",
        verdict=t.DiskFull,
        exit_codes=_killed_by("XFSZ"),
        why="it exceeded the limit for file sizes",
    ),
    Rule(
        name="exit.cpu-limit",
        verdict=t.ResourceError,
        exit_codes=_killed_by("XCPU"),
        why="it exceeded the limit for processor time",
    ),
    Rule(
        name="exit.crashed",
        verdict=t.PermanentError,
        exit_codes=_killed_by("SEGV", "ABRT", "BUS", "FPE", "ILL", "TRAP", "SYS"),
        why="a defect of the program",
    ),
    Rule(
        # 1 says little; the safer guess is that the same command will fail again.
        name="exit.usage",
        verdict=t.ConfigurationError,
        exit_codes=(1, 2, 64, 78, 125, 126, 127),
        why="used wrongly, not executable, or missing; 125 comes from launchers such as docker or env",
    ),
    Rule(
        name="exit.data", verdict=t.ValidationError, exit_codes=(65, 66), why="sysexits: its input is wrong"
    ),
    Rule(
        name="exit.unavailable",
        verdict=t.Unreachable,
        exit_codes=(68, 69),
        why="sysexits: a host or service is unavailable",
    ),
    Rule(
        name="exit.system",
        verdict=t.PermanentError,
        exit_codes=(70, 71, 72),
        why="sysexits: an error of the system or of the program itself",
    ),
    Rule(
        name="exit.io",
        verdict=t.FilesystemError,
        exit_codes=(73, 74),
        why="sysexits: cannot create a file, or an error of input and output",
    ),
    Rule(name="exit.try-again", verdict=t.TransientError, exit_codes=(75,), why="sysexits: temporary"),
    Rule(
        name="exit.permission", verdict=t.PermissionRefused, exit_codes=(77,), why="sysexits: not permitted"
    ),
    Rule(
        name="exit.other",
        verdict=t.PermanentError,
        exit_codes=(range(-(2**31), 0), range(1, 2**32)),
        why="a code that has no common meaning",
    ),
)

# The words first: most programs exit with 1 and say on standard error what was wrong.
PROCESSES: tuple[Rule, ...] = (*WORDS, *_EXIT_CODES)
