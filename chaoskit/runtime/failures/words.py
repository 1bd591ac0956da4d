"""Rules for the words of programs on standard error, in the order in which they are tried.

Sources: the texts of the C library, of bash, OpenSSH, curl(1) with its numbers, rsync, git, Docker and other
programs in Go, kubectl, psql, mysql, the AWS CLI, Node, Java, compressors, and of the schedulers Slurm, PBS,
Grid Engine, LSF and HTCondor.
"""

from __future__ import annotations

import re

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.amazon import ANSWERS
from chaoskit.runtime.failures.errnos import ERRNOS
from chaoskit.runtime.failures.rules import Proven, Rule

__all__ = ["WORDS"]

# Refused logins and wrong peers, before the broken connections that they cause.
_FIRST = (
    Rule(
        # Before the others: the name of an option may contain any word below.
        name="stderr.usage",
        verdict=t.ConfigurationError,
        stderr=Proven(
            r"(?m)^usage:|(unrecogni[sz]ed|unknown|illegal) (option|argument|flag|switch)"
            r"|invalid option|bad configuration option"
            r"|command not found|(?m:^|: )no such command|error while loading shared libraries"
            r"|licen[cs]e (file )?(is )?(invalid|expired|not found)"
        ),
        why="the command line or the installation is wrong",
    ),
    Rule(
        name="stderr.certificate",
        verdict=t.SecurityError,
        stderr=Proven(
            r"certificate.verify.failed|ssl certificate problem|no alternative certificate subject name"
            r"|certificate (of '[^']*' )?is not trusted|x509: certificate|pkix path"
            r"|host key verification failed"
            r"|remote host identification has changed|\bbad signature from\b|curl: \((51|60|90|91)\)"
        ),
        why="the other side could not prove its identity",
    ),
    Rule(
        name="stderr.tls-set-up",
        verdict=t.ConfigurationError,
        stderr=Proven(
            r"wrong.version.number|gave http response to https client|no matching (host key type"
            r"|cipher|mac|key exchange)"
        ),
        why="the port does not speak TLS, or no version or algorithm is common to both",
    ),
    Rule(
        name="stderr.expired",
        verdict=t.RecoverableError,
        stderr=Proven(
            r"token has expired|credentials (have|has) expired|key has (expired|been revoked)"
            r"|required key not available"
        ),
        why="new credentials help, the same ones do not",
    ),
    Rule(
        name="stderr.credentials",
        verdict=t.ConfigurationError,
        stderr=Proven(
            r"permission denied \((publickey|password|keyboard|gssapi|hostbased)"
            r"|too many authentication failures"
            r"|authentication failed for\b|auth failed on module|could not read (username|password) for"
            r"|invalid username or password|unable to locate credentials"
            r"|could not load the default credentials"
            r"|you must specify a region|curl: \(67\)"
        ),
        why="user, password or key is wrong or missing",
    ),
)

# Resources that are used up, damaged, or held by others.
_STATE = (
    Rule(
        name="stderr.memory",
        verdict=t.OutOfMemory,
        stderr=Proven(
            r"\bout of memory\b|oom-?kill|cannot allocate memory|std::bad_alloc"
            r"|\b(Out-?Of)?MemoryError\b"
            r"|exceeded (job|step|virtual)? ?memory limit|(?m:^|: line \d+: +\d+ )killed\b"
            r"|job killed: v?mem\b|(?m:^)mem(ory)? .*exceeded limit|TERM_MEMLIMIT"
            r"|\bout of shared memory\b"
            r"|hard limit [hs]_(vmem|rss) exceeded"
            r"|some of your processes may have been killed by the cgroup"
        ),
        why="memory ran out; a bare Killed is what shells print for SIGKILL",
    ),
    Rule(
        name="stderr.disk-full",
        verdict=t.DiskFull,
        stderr=Proven(r"no space left on device|\bdisk full\b"),
        why="the C library's text for ENOSPC",
    ),
    Rule(
        name="stderr.quota",
        verdict=t.QuotaExceeded,
        stderr=Proven(r"disk quota exceeded"),
        why="the C library's text for EDQUOT",
    ),
    Rule(
        name="stderr.limits",
        verdict=t.ResourceError,
        stderr=Proven(
            r"exceeded quota|quota '?[\w-]*'? ?exceeded|insufficient (cpu|memory|capacity"
            r"|ephemeral-storage)\b"
            r"|(?m:: )file too large$|cannot assign requested address|no buffer space available"
            r"|would exceed .*\blimit\b|job threshold reached|TERM_(CPU|PROCESS|THREAD)LIMIT"
        ),
        why="a limit, a quota or the machines are used up until something is freed",
    ),
    Rule(
        name="stderr.read-only",
        verdict=t.ReadOnlyFilesystem,
        stderr=Proven(r"read-only file system"),
        why="the C library's text for EROFS",
    ),
    Rule(
        name="stderr.io",
        verdict=t.FilesystemError,
        stderr=Proven(r"input/output error|remote i/o error"),
        why="the C library's text for EIO: the device fails",
    ),
    Rule(
        name="stderr.stale",
        verdict=t.StaleHandle,
        stderr=Proven(r"stale (nfs )?file handle"),
        why="the C library's text for ESTALE: the share moved away",
    ),
    Rule(
        name="stderr.damaged",
        verdict=t.DataIntegrityError,
        stderr=Proven(
            r"unexpected (eof|end of file) in archive|\.(gz|bz2|xz|zst): unexpected end of file"
            r"|not in gzip format"
            r"|invalid compressed data|central-directory signature not found|data integrity error"
            r"|data is corrupt\b"
            r"|doesn't match checksum|(checksum|digest|hash) mismatch|corrupt loose object"
            r"|error -3 while decompressing|checksums? did not match|hash sum mismatch|\bEINTEGRITY\b"
            r"|loose object .* is corrupt"
            r"|object file .* is empty|does not match index|invalid page in block|structure needs cleaning"
            r"|: bad message\b"
            r"|invalid data found when processing|moov atom not found|(?m:^jq: )parse error"
        ),
        why="a checksum or a structure is not what it should be",
    ),
    Rule(
        name="stderr.scheduler.set-up",
        verdict=t.ConfigurationError,
        stderr=Proven(
            r"requested node configuration is not available|invalid (account|partition|qos|feature)"
            r"|unknown queue|no such queue|unknown resource"
        ),
        why="the scheduler does not know what is asked for",
    ),
    Rule(
        name="stderr.scheduler.limit",
        verdict=t.ResourceError,
        stderr=Proven(
            r"(QOS|Assoc)\w*Limit|violates accounting/QOS policy|maximum number of (jobs|user jobs)"
        ),
        why="the scheduler's limit for this user is reached",
    ),
    Rule(
        name="stderr.scheduler.time",
        verdict=t.Overloaded,
        stderr=Proven(
            r"DUE TO TIME LIMIT|walltime \d+ exceeded|TERM_RUNLIMIT|hard limit h_(rt|cpu) exceeded"
        ),
        why="the job exceeded its time limit",
    ),
    Rule(
        name="stderr.scheduler.moved",
        verdict=t.TransientError,
        stderr=Proven(
            r"DUE TO (PREEMPTION|NODE ?FAIL(URE)?|JOB REQUEUE)|node failure"
            r"|TERM_(PREEMPT|REQUEUE\w*|LOAD|SWAP)|job was evicted|node_fail|SISTER_EOF"
        ),
        why="the scheduler took the machine away, or it failed",
    ),
    Rule(
        name="stderr.scheduler.away",
        verdict=t.Unreachable,
        stderr=Proven(
            r"unable to contact slurm controller|slurm controller not responding"
            r"|slurm temporarily unable|socket timed out on send/recv"
            r"|cannot connect to (default )?server|can't connect to server"
            r"|zero bytes were transmitted|communication connection failure|unable to contact qmaster"
            r"|cannot connect to lsf"
        ),
        why="the scheduler cannot be reached",
    ),
    Rule(
        name="stderr.scheduler.cancelled",
        verdict=t.PermanentError,
        # Messages with a cause (DUE TO …) have been matched above.
        stderr=Proven(r"\*\*\* (job|step) \S+ .*cancelled at|TERM_(FORCE_)?OWNER"),
        why="a person cancelled the job",
    ),
    Rule(
        name="stderr.conflict",
        verdict=t.TransientError,
        # Servers and tools that exclude each other; the words are all that their clients show.
        stderr=Proven(
            r"deadlock (detected|found)|could not serialize access|(database|table|file) is locked"
            r"|could not get lock\b|\.lock': file exists|acquiring the state lock|lock wait timeout"
            r"|(text file|device or resource"
            r"|resource) busy\b"
            r"|no locks available|interrupted system call|the object has been modified"
        ),
        why="another process has it for now",
    ),
    Rule(
        name="stderr.crowded",
        verdict=t.ResourceError,
        stderr=Proven(
            r"too many (clients already|connections)|remaining connection slots"
            r"|all licen[cs]es (are )?in use"
        ),
        why="every place is taken",
    ),
    Rule(
        name="stderr.other-state",
        verdict=t.RecoverableError,
        stderr=Proven(
            r"in a read-only transaction|\[rejected\].*\((fetch first|non-fast-forward|stale info)\)"
            r"|invalid cross-device link"
        ),
        why="another server or another state would accept it: the primary, or a version fetched first",
    ),
    Rule(
        name="stderr.refused-item",
        verdict=t.ValidationError,
        stderr=Proven(
            r"violates (unique|foreign key|check|not-null) constraint|(?m:^error 1062)\b"
            r"|file name too long"
        ),
        why="this row, name or value is not accepted",
    ),
    Rule(
        name="stderr.set-up",
        verdict=t.ConfigurationError,
        stderr=Proven(
            r"port is already allocated|address already in use|name \S+ is already in use"
            r"|pull access denied"
            r"|unknown module '|unable to locate package|relation \S+ does not exist|unknown filesystem type"
            r"|exec format error|function not implemented|curl: \([1-4]\)"
        ),
        why="what is asked for does not exist, or its place is taken",
    ),
)


def _pattern(code: str) -> str:
    """A regular expression for a code of a rule."""
    return re.escape(code[:-1]) + "[^)]*" if code.endswith("*") else re.escape(code)


# The answers of AWS as its command line prints them; the codes are those of botocore's errors.
_AMAZON = tuple(
    Rule(
        name=f"stderr.{rule.name}",
        verdict=rule.verdict,
        stderr=Proven(rf"An error occurred \(({'|'.join(map(_pattern, rule.codes))})\)"),
        why=rule.why,
    )
    for rule in ANSWERS
)

# The connection to another machine.
_WAY = (
    Rule(
        name="stderr.status",
        verdict=t.Overloaded,
        stderr=Proven(
            r"returned error: (429|50[0234])\b|\bservice ?unavailable\b|bad gateway|server busy"
            r"|backend error|redis is loading|(http error|status( code)?:?) (429|50[0234])\b"
            r"|\btoomanyrequests\b|too many requests"
            r"|the database system is (starting up|shutting down|in recovery|not yet accepting)"
        ),
        why="the service is too busy, or not up yet",
    ),
    Rule(
        name="stderr.permission",
        verdict=t.PermissionRefused,
        stderr=Proven(r"permission denied|operation not permitted"),
        why="the C library's texts for EACCES and EPERM",
    ),
    Rule(
        name="stderr.too-many-files",
        verdict=t.TooManyFiles,
        stderr=Proven(r"too many open files"),
        why="the C library's text for EMFILE",
    ),
    Rule(
        name="stderr.unreachable",
        verdict=t.Unreachable,
        stderr=Proven(
            r"connection refused|could not resolve host|name or service not known"
            r"|network is (unreachable|down)|no route to host|host is down"
            r"|could not resolve proxy|unable to resolve host|(?m:\bno such host\W*$)|unknownhostexception"
            r"|\bENOTFOUND\b"
            r"|\b(failed to|unable to|could not|couldn't|cannot|can't) connect to\b"
            r"|connection to the server \S+ was refused"
            r"|curl: \([567]\)"
        ),
        why="the C library's texts, and curl's",
    ),
    Rule(
        name="stderr.reset",
        verdict=t.TransientError,
        stderr=Proven(
            r"connection (was )?reset|broken pipe|temporary failure|temporarily unavailable"
            r"|try again later|connection closed by remote host|unexpected disconnect|remote end hung up"
            r"|connection unexpectedly closed|\bRPC failed;|empty reply from server|transfer closed with"
            r"|\bearly eof\b"
            # Shells say it of a script with a missing quote or bracket, but there the line goes on.
            r"|(?m:\bunexpected eof( while reading)?\W*$)|(?m:\bconnection closed\W*$)|(?m:\": EOF$)"
            r"|connection (to server )?(was|has been) (lost|closed)"
            r"|closed the connection unexpectedly|lost connection to|server has gone away|leader changed"
            r"|connection aborted|remote end closed|due to administrator command|not closed cleanly"
            r"|\bhas vanished:"
            r"|transport endpoint is not connected|\bEAI_AGAIN\b|curl: \((16|18|35|52|55|56|92)\)"
        ),
        why="the connection broke, or the text says that it will pass",
    ),
    Rule(
        name="stderr.timeout",
        verdict=t.Overloaded,
        # Not every mention of a timeout: options and settings are called so as well.
        stderr=Proven(
            r"(?<![\w-])timed[ -]?out\b|(?<![\w-])(connect(ion)?|operation|request|read|write|gateway"
            r"|lock"
            r"|handshake|statement|i/?o)"
            r"[ -]time-?out\b"
            r"|\btime-?out( was reached| waiting for| in data|, server)|client\.timeout exceeded|curl: \(28\)"
            r"|deadline exceeded"
        ),
        why="it says that the time ran out",
    ),
    Rule(
        name="stderr.crashed",
        verdict=t.PermanentError,
        # A shell or a launcher reports it about a program below, and exits with 1.
        stderr=Proven(r"segmentation fault|\bbus error\b|illegal instruction"),
        why="a defect of the program",
    ),
    Rule(
        name="stderr.not-found",
        verdict=t.FileMissing,
        stderr=Proven(r"no such file or directory"),
        why="the C library's text for ENOENT",
    ),
    Rule(
        name="stderr.redirects",
        verdict=t.PermanentError,
        stderr=Proven(r"curl: \(47\)"),
        why="the redirects go in a circle",
    ),
)

# Names as Node and others print them. In capitals only: in lower case many are plain words.
_NAMES = tuple(
    Rule(
        name=f"stderr.errno.{rule.name}",
        verdict=rule.verdict,
        stderr=Proven(rf"(?-i:\b({'|'.join(rule.errnos)})\b)"),
        why=rule.why,
    )
    for rule in ERRNOS
    if rule.names_file is None
)

WORDS: tuple[Rule, ...] = (*_FIRST, *_STATE, *_AMAZON, *_WAY, *_NAMES)
