"""What a process left behind means: its words on standard error, then its exit code.

Sources: exit codes of timeout(1), bash(1) (128 + signal) and sysexits(3h); messages of the C library, of
bash, and of the schedulers Slurm, PBS, Grid Engine, LSF and HTCondor.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.rules import Rule

__all__ = ["PROCESSES"]

# By number, since Windows lacks most of the names, and exit codes come from other machines.
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
    # A shell adds 128 to the number; subprocess gives its negative.
    return (*(128 + n for n in numbers), *(-n for n in numbers))


# Before the exit codes: most programs end with 1 and say in words what was wrong.
_STDERR = (
    Rule(
        # Before the rest: the name of an option may be any word below.
        name="stderr.usage",
        verdict=t.ConfigurationError,
        stderr=r"(?m)^usage:|(unrecogni[sz]ed|unknown|illegal) (option|argument|flag|switch)|invalid option"
        r"|command not found|(?m:^|: )no such command|error while loading shared libraries"
        r"|licen[cs]e (file )?(is )?(invalid|expired|not found)",
        why="the command line or the installation is wrong",
    ),
    Rule(
        name="stderr.memory",
        verdict=t.OutOfMemory,
        stderr=r"\bout of memory\b|oom-?kill|cannot allocate memory|std::bad_alloc|\b(Out-?Of)?MemoryError\b"
        r"|exceeded (job|step|virtual)? ?memory limit|(?m:^|: line \d+: +\d+ )killed\b"
        r"|job killed: v?mem\b|(?m:^)mem(ory)? .*exceeded limit|TERM_MEMLIMIT"
        r"|hard limit [hs]_(vmem|rss) exceeded"
        r"|some of your processes may have been killed by the cgroup",
        why="memory ran out; a bare Killed is what shells print for SIGKILL",
    ),
    Rule(
        name="stderr.disk-full",
        verdict=t.DiskFull,
        stderr=r"no space left on device|\bdisk full\b",
        why="the C library's text for ENOSPC",
    ),
    Rule(
        name="stderr.quota",
        verdict=t.QuotaExceeded,
        stderr=r"disk quota exceeded",
        why="the C library's text for EDQUOT",
    ),
    Rule(
        name="stderr.read-only",
        verdict=t.ReadOnlyFilesystem,
        stderr=r"read-only file system",
        why="the C library's text for EROFS",
    ),
    Rule(
        name="stderr.io",
        verdict=t.FilesystemError,
        stderr=r"input/output error",
        why="the C library's text for EIO: the device fails",
    ),
    Rule(
        name="stderr.stale",
        verdict=t.StaleHandle,
        stderr=r"stale (nfs )?file handle",
        why="the C library's text for ESTALE: the share moved away",
    ),
    Rule(
        name="stderr.scheduler.set-up",
        verdict=t.ConfigurationError,
        stderr=r"requested node configuration is not available|invalid (account|partition|qos|feature)"
        r"|unknown queue|no such queue|unknown resource",
        why="the scheduler does not know what is asked for",
    ),
    Rule(
        name="stderr.scheduler.limit",
        verdict=t.ResourceError,
        stderr=r"(QOS|Assoc)\w*Limit|violates accounting/QOS policy|maximum number of (jobs|user jobs)",
        why="the scheduler's limit for this user is reached",
    ),
    Rule(
        name="stderr.scheduler.time",
        verdict=t.Overloaded,
        stderr=r"DUE TO TIME LIMIT|walltime \d+ exceeded|TERM_RUNLIMIT|hard limit h_(rt|cpu) exceeded",
        why="the job took longer than it may",
    ),
    Rule(
        name="stderr.scheduler.moved",
        verdict=t.TransientError,
        stderr=r"DUE TO (PREEMPTION|NODE ?FAIL(URE)?|JOB REQUEUE)|node failure"
        r"|TERM_(PREEMPT|REQUEUE\w*|LOAD|SWAP)|job was evicted|node_fail",
        why="the scheduler took the machine away, or it failed",
    ),
    Rule(
        name="stderr.scheduler.away",
        verdict=t.Unreachable,
        stderr=r"unable to contact slurm controller|slurm controller not responding"
        r"|slurm temporarily unable|socket timed out on send/recv"
        r"|cannot connect to (default )?server|can't connect to server"
        r"|unable to contact qmaster|cannot connect to lsf",
        why="the scheduler cannot be reached",
    ),
    Rule(
        name="stderr.scheduler.cancelled",
        verdict=t.PermanentError,
        # What ends with a cause (DUE TO …) has been judged above.
        stderr=r"\*\*\* (job|step) \S+ .*cancelled at|TERM_OWNER",
        why="a person cancelled the job",
    ),
    Rule(
        name="stderr.conflict",
        verdict=t.TransientError,
        # Servers and tools that let one in at a time; what they say in words is all that their clients have.
        stderr=r"deadlock (detected|found)|could not serialize access|(database|table|file) is locked"
        r"|could not get lock\b|index\.lock': file exists|(text file|device or resource|resource) busy\b",
        why="another process has it for now",
    ),
    Rule(
        name="stderr.crowded",
        verdict=t.ResourceError,
        stderr=r"too many (clients already|connections)|remaining connection slots"
        r"|all licen[cs]es (are )?in use",
        why="every place is taken",
    ),
    Rule(
        name="stderr.status",
        verdict=t.Overloaded,
        stderr=r"returned error: (429|50[0234])\b|\btoomanyrequests\b|too many requests"
        r"|the database system is (starting up|shutting down|in recovery)",
        why="the service is too busy, or not up yet",
    ),
    Rule(
        name="stderr.permission",
        verdict=t.PermissionRefused,
        stderr=r"permission denied|operation not permitted",
        why="the C library's texts for EACCES and EPERM",
    ),
    Rule(
        name="stderr.too-many-files",
        verdict=t.TooManyFiles,
        stderr=r"too many open files",
        why="the C library's text for EMFILE",
    ),
    Rule(
        name="stderr.unreachable",
        verdict=t.Unreachable,
        stderr=r"connection refused|could not resolve host|name or service not known"
        r"|network is unreachable|no route to host",
        why="the C library's texts, and curl's",
    ),
    Rule(
        name="stderr.reset",
        verdict=t.TransientError,
        stderr=r"connection (was )?reset|broken pipe|temporary failure|temporarily unavailable"
        r"|try again later|connection closed by remote host|unexpected disconnect|remote end hung up"
        r"|connection unexpectedly closed|\bRPC failed;",
        why="the connection broke, or the text says that it will pass",
    ),
    Rule(
        name="stderr.timeout",
        verdict=t.Overloaded,
        # Not every mention of a timeout: it is the name of an option and of a setting as well.
        stderr=r"(?<![\w-])timed[ -]?out\b|(connection|operation|request|read|gateway|lock|handshake)"
        r"[ -]time-?out\b"
        r"|deadline exceeded",
        why="it says that the time was up",
    ),
    Rule(
        name="stderr.crashed",
        verdict=t.PermanentError,
        # A shell or a launcher reports it of a program below, and ends with 1 itself.
        stderr=r"segmentation fault|\bbus error\b|illegal instruction",
        why="a defect of the program",
    ),
    Rule(
        name="stderr.not-found",
        verdict=t.FileMissing,
        stderr=r"no such file or directory",
        why="the C library's text for ENOENT",
    ),
)

_EXIT_CODES = (
    Rule(
        name="exit.killed",
        verdict=t.OutOfMemory,
        exit_codes=_killed_by("KILL"),
        why="SIGKILL that nothing asked for is in practice the kernel out of memory",
    ),
    Rule(
        name="exit.timeout",
        verdict=t.Overloaded,
        exit_codes=(124, *_killed_by("ALRM")),
        why="timeout(1) cut it, or its own alarm",
    ),
    Rule(
        name="exit.interrupted",
        verdict=t.PermanentError,
        exit_codes=_killed_by("INT", "QUIT"),
        why="a person pressed Ctrl-C and does not want it repeated",
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
        why="the limit for the size of a file",
    ),
    Rule(
        name="exit.cpu-limit",
        verdict=t.ResourceError,
        exit_codes=_killed_by("XCPU"),
        why="the limit for processor time",
    ),
    Rule(
        name="exit.crashed",
        verdict=t.PermanentError,
        exit_codes=_killed_by("SEGV", "ABRT", "BUS", "FPE", "ILL", "TRAP", "SYS"),
        why="a defect of the program",
    ),
    Rule(
        # 1 says little; that the same command fails again is the safer guess.
        name="exit.usage",
        verdict=t.ConfigurationError,
        exit_codes=(1, 2, 64, 78, 126, 127),
        why="used wrongly, not executable, or not there",
    ),
    Rule(
        name="exit.data", verdict=t.ValidationError, exit_codes=(65, 66), why="sysexits: its input is wrong"
    ),
    Rule(
        name="exit.unavailable",
        verdict=t.Unreachable,
        exit_codes=(68, 69),
        why="sysexits: a host or service is away",
    ),
    Rule(
        name="exit.system",
        verdict=t.PermanentError,
        exit_codes=(70, 71, 72),
        why="sysexits: the system or itself",
    ),
    Rule(
        name="exit.io",
        verdict=t.FilesystemError,
        exit_codes=(73, 74),
        why="sysexits: cannot create, or input and output",
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

PROCESSES: tuple[Rule, ...] = (*_STDERR, *_EXIT_CODES)
