"""What processes leave behind: exit codes, signals, and words on standard error."""

from __future__ import annotations

import subprocess

from known_errors.case import Case


def _ended(code: int, stderr: str = "") -> subprocess.CalledProcessError:
    return subprocess.CalledProcessError(code, "tool", stderr=stderr)


EXIT_CODES = [
    ("resource", "SIGKILL: out of memory", (137, -9)),
    ("resource", "the limit for processor time or file size", (152, -24, 153, -25)),
    ("transient", "timeout(1)", (124,)),
    ("transient", "stopped from outside", (143, -15, 129, -1)),
    ("transient", "its reader went away", (141, -13)),
    ("transient", "sysexits: later, or a host is away", (75, 69, 68)),
    ("permanent", "a person pressed Ctrl-C", (130, -2)),
    ("permanent", "crashed", (139, -11, 134, -6, 135, 136, 132)),
    ("configuration", "used wrongly, not executable, not there", (1, 2, 64, 78, 126, 127)),
    ("validation", "sysexits: its input", (65, 66)),
    ("permanent", "sysexits: may not, or the system", (77, 70, 71, 73, 74)),
    ("permanent", "no common meaning", (42, 255)),
]

STDERR = [
    ("resource", "out of memory", "Killed"),
    ("resource", "out of memory", "job.sh: line 3:  4711 Killed                  ./solver"),
    ("resource", "out of memory", "slurmstepd: error: Exceeded job memory limit at some point."),
    ("resource", "out of memory", "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch"),
    ("resource", "out of memory", "=>> PBS: job killed: mem 4194304kb exceeded limit 2097152kb"),
    ("resource", "out of memory", "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit."),
    ("resource", "out of memory", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("resource", "full", "tar: data.bin: Cannot write: No space left on device"),
    ("resource", "quota", "cp: error writing 'b': Disk quota exceeded"),
    ("resource", "the scheduler's limit", "sbatch: error: QOSMaxSubmitJobPerUserLimit"),
    (
        "transient",
        "time limit",
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***",
    ),
    ("transient", "time limit", "=>> PBS: job killed: walltime 3605 exceeded limit 3600"),
    ("transient", "time limit", "TERM_RUNLIMIT: job killed after reaching LSF run time limit."),
    (
        "transient",
        "preempted",
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***",
    ),
    ("transient", "the machine failed", "srun: error: Node failure on n1"),
    (
        "transient",
        "the scheduler is away",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
    ),
    (
        "transient",
        "the scheduler is busy",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
    ),
    ("transient", "refused", "curl: (7) Failed to connect to h port 80: Connection refused"),
    ("transient", "no name", "curl: (6) Could not resolve host: h"),
    ("transient", "not in time", "curl: (28) Operation timed out after 5000 milliseconds"),
    ("transient", "broke", "fatal: the remote end hung up unexpectedly"),
    ("transient", "later", "fork: Resource temporarily unavailable"),
    ("transient", "the share moved away", "ls: cannot access 'a': Stale file handle"),
    (
        "permanent",
        "cancelled by a person",
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***",
    ),
    ("permanent", "the device fails", "cp: error reading 'a': Input/output error"),
    ("permanent", "may not", "bash: ./a: Permission denied"),
    ("permanent", "read-only", "touch: cannot touch 'a': Read-only file system"),
    ("permanent", "not there", "cat: a: No such file or directory"),
    ("configuration", "no licence helps later", "license file invalid. Fix it and try again"),
    ("configuration", "an option, not a time-out", "tool: unknown option --timeout"),
    ("configuration", "used wrongly", "usage: tool [-h] FILE\ntool: error: unrecognized arguments: --x"),
    (
        "configuration",
        "no such partition",
        "sbatch: error: Batch job submission failed: Invalid partition name specified",
    ),
    ("configuration", "says nothing", "something went wrong"),
    ("resource", "out of memory", "Exception in thread main java.lang.OutOfMemoryError: Java heap space"),
    ("resource", "every place is taken", "psql: error: FATAL:  sorry, too many clients already"),
    ("resource", "every place is taken", "License checkout failed: all licenses in use"),
    ("transient", "the scheduler is away", "sbatch: error: Slurm controller not responding, sleeping"),
    ("transient", "broke", "rsync: connection unexpectedly closed (0 bytes received so far) [sender]"),
    ("transient", "broke", "error: RPC failed; curl 56 GnuTLS recv error (-54): Error in the pull function."),
    ("transient", "another has it", "fatal: Unable to create '/r/.git/index.lock': File exists."),
    (
        "transient",
        "another has it",
        "E: Could not get lock /var/lib/dpkg/lock-frontend",
    ),
    ("transient", "another has it", "umount: /mnt: Device or resource busy"),
    ("transient", "another has it", "bash: ./a: Text file busy"),
    ("transient", "another has it", "ERROR:  deadlock detected"),
    ("transient", "another has it", "ERROR:  could not serialize access due to concurrent update"),
    ("transient", "not up yet", "FATAL:  the database system is starting up"),
    ("transient", "overloaded", "curl: (22) The requested URL returned error: 503"),
    ("transient", "the registry's limit", "toomanyrequests: You have reached your pull rate limit."),
    ("transient", "not in time", "Unable to connect to the server: net/http: TLS handshake timeout"),
    ("configuration", "not there", "curl: (22) The requested URL returned error: 404"),
    (
        "configuration",
        "a library is missing",
        "a: error while loading shared libraries: libx.so.1: cannot open "
        "shared object file: No such file or directory",
    ),
    ("permanent", "crashed below a shell", "job.sh: line 3: 4711 Segmentation fault (core dumped) ./solver"),
]

CASES: list[Case] = [
    *[
        Case(f"exit {code}", lambda code=code: _ended(code), category, why)  # type: ignore[misc]
        for category, why, codes in EXIT_CODES
        for code in codes
    ],
    *[
        Case(f"stderr {text[:40]}", lambda text=text: _ended(1, text), category, why)  # type: ignore[misc]
        for category, why, text in STDERR
    ],
    Case("timeout", lambda: subprocess.TimeoutExpired("tool", 3), "transient", "not in time"),
]
