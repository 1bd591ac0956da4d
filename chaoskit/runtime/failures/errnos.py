"""Rules for every errno of Linux, with its meaning for files and for sockets.

Sources: errno(3), and the pages of the calls in section 2: open, read, write, rename, connect, bind, send,
recv. An error of a call with a path has a ``filename``; one of a socket, pipe or descriptor has not. If the
meaning differs between the two, an errno has two rules.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.rules import Rule

__all__ = ["ERRNOS", "OTHER_ERRNO"]

_OF_FILES = (
    Rule(name="disk-full", verdict=t.DiskFull, errnos=("ENOSPC",), why="no space left on the device"),
    Rule(name="quota", verdict=t.QuotaExceeded, errnos=("EDQUOT",), why="the user's share is used up"),
    Rule(
        name="file-too-large",
        verdict=t.ResourceError,
        errnos=("EFBIG",),
        why="beyond the process's limit (ulimit -f), or what the file system can hold",
    ),
    Rule(
        name="permission",
        verdict=t.PermissionRefused,
        errnos=("EACCES", "EPERM", "ERFKILL"),
        why="the user lacks permission: mode, owner, capability, port below 1024, firewall",
    ),
    Rule(name="read-only", verdict=t.ReadOnlyFilesystem, errnos=("EROFS",), why="mounted read-only"),
    Rule(
        name="stale-handle",
        verdict=t.StaleHandle,
        errnos=("ESTALE",),
        why="the share moved away under an open file",
    ),
    Rule(
        name="too-many-files",
        verdict=t.TooManyFiles,
        errnos=("EMFILE", "ENFILE"),
        why="no descriptor left in the process, or in the machine",
    ),
    Rule(
        name="not-found",
        verdict=t.FileMissing,
        errnos=("ENOENT", "ENOTDIR"),
        why="the path, or a directory on the way to it, does not exist",
    ),
    Rule(
        name="memory.errno",
        verdict=t.OutOfMemory,
        errnos=("ENOMEM", "ENOBUFS", "ENOSR"),
        why="the kernel has no memory or buffers left",
    ),
    Rule(
        name="data.errno",
        verdict=t.DataIntegrityError,
        errnos=("EUCLEAN", "EBADMSG", "EILSEQ", "EFTYPE"),
        why="a checksum or a structure on the device is wrong",
    ),
    Rule(
        name="name-too-long",
        verdict=t.ValidationError,
        errnos=("ENAMETOOLONG",),
        why="this name is longer than the file system allows",
    ),
    Rule(
        name="other-device",
        verdict=t.RecoverableError,
        errnos=("EXDEV",),
        why="a rename between two file systems: copying works",
    ),
    Rule(
        name="kind-of-file",
        verdict=t.FilesystemError,
        errnos=("EISDIR", "EEXIST", "ENOTEMPTY", "ELOOP", "EMLINK"),
        why="the path is of another kind than the call needs",
    ),
    Rule(
        name="key.errno",
        verdict=t.RecoverableError,
        errnos=("EKEYEXPIRED", "EKEYREVOKED", "ENOKEY"),
        why="the key of a share or encrypted directory is missing or has expired: get a new one",
    ),
    Rule(
        name="key-rejected",
        verdict=t.ConfigurationError,
        errnos=("EKEYREJECTED",),
        why="the server refuses the key",
    ),
    Rule(
        name="device.errno",
        verdict=t.FilesystemError,
        errnos=(
            *("EIO", "EREMOTEIO", "ENODEV", "ENXIO", "ENOMEDIUM", "EMEDIUMTYPE", "ENODATA"),
            *("ENOTBLK", "EMULTIHOP", "EREMOTE", "EISNAM", "ENOTNAM", "ENAVAIL", "EHWPOISON"),
        ),
        why="the device, or something behind it, fails or is gone",
    ),
    Rule(
        name="lost-mount",
        verdict=t.FilesystemError,
        errnos=("ENOTCONN",),
        names_file=True,
        why="the program behind a FUSE file system has ended: mount it again",
    ),
    Rule(
        name="lost-share",
        verdict=t.TransientError,
        errnos=("ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "ECONNREFUSED", "ECONNRESET"),
        names_file=True,
        why="the server of a network share did not answer",
    ),
)

_OF_SOCKETS = (
    Rule(
        name="network.unreachable",
        verdict=t.Unreachable,
        errnos=(
            *("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "EHOSTDOWN", "ETIMEDOUT"),
            *("ENONET", "ENOLINK", "ETIME"),
        ),
        why="refused, no route, or timed out",
    ),
    Rule(
        name="network.reset",
        verdict=t.TransientError,
        errnos=(
            *("ECONNRESET", "ECONNABORTED", "EPIPE", "ENETRESET", "ENOTCONN", "ESHUTDOWN"),
            *("EPROTO", "ECOMM", "ESTRPIPE"),
        ),
        why="the connection broke: make a new one",
    ),
    Rule(
        name="network.in-progress",
        verdict=t.TransientError,
        errnos=("EINPROGRESS", "EALREADY"),
        why="the connection is being made already",
    ),
    Rule(
        name="network.ports",
        verdict=t.ResourceError,
        errnos=("EADDRNOTAVAIL",),
        why="the ports for outgoing connections are used up, or the address is not of this machine",
    ),
    Rule(
        name="network.address",
        verdict=t.ConfigurationError,
        errnos=("EADDRINUSE",),
        why="another program listens there",
    ),
    Rule(
        name="network.unsupported",
        verdict=t.ConfigurationError,
        errnos=(
            *("EAFNOSUPPORT", "EPFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"),
            *("EPROTOTYPE", "ENOPROTOOPT"),
        ),
        why="the machine lacks the protocol, such as IPv6",
    ),
    Rule(
        name="network.too-long",
        verdict=t.ValidationError,
        errnos=("EMSGSIZE",),
        why="this datagram is larger than the path allows",
    ),
    Rule(
        name="network.limit",
        verdict=t.ResourceError,
        errnos=("EUSERS", "ETOOMANYREFS"),
        why="a limit of the kernel is reached",
    ),
    Rule(
        name="network.use",
        verdict=t.PermanentError,
        errnos=("ENOTSOCK", "EDESTADDRREQ", "EISCONN"),
        why="the program uses the socket in a way that cannot work",
    ),
)

_OF_BOTH = (
    Rule(
        name="busy",
        verdict=t.TransientError,
        errnos=(
            *("EAGAIN", "EINTR", "EBUSY", "ETXTBSY", "EDEADLK", "EDEADLOCK", "ENOLCK"),
            *("ERESTART", "EXFULL", "EBADE", "EWOULDBLOCK"),
        ),
        why="it is in use at the moment, a signal arrived, or there are no locks left",
    ),
    Rule(
        name="owner-died",
        verdict=t.RecoverableError,
        errnos=("EOWNERDEAD",),
        why="the holder of a lock died: make the state consistent, then go on",
    ),
    Rule(
        name="cancelled.errno",
        verdict=t.PermanentError,
        errnos=("ECANCELED",),
        why="the caller gave up",
    ),
    Rule(
        name="unsupported.errno",
        verdict=t.ConfigurationError,
        errnos=(
            *("ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOPKG", "ENOEXEC"),
            *("ELIBACC", "ELIBBAD", "ELIBEXEC", "ELIBMAX", "ELIBSCN"),
        ),
        why="the kernel, the file system or the program file cannot do it",
    ),
    Rule(
        name="argument.errno",
        verdict=t.PermanentError,
        errnos=(
            *("EINVAL", "EBADF", "EBADFD", "EFAULT", "ENOTTY", "ESPIPE", "E2BIG", "EDOM", "ERANGE"),
            *("EOVERFLOW", "ESRCH", "ECHILD", "EIDRM", "ENOMSG", "ENOTRECOVERABLE"),
        ),
        why="the program asks for something impossible",
    ),
    Rule(
        # Streams and other history: no call of today's Linux fails with these.
        name="history.errno",
        verdict=t.PermanentError,
        errnos=(
            *("EADV", "EBADR", "EBADRQC", "EBADSLT", "EBFONT", "ECHRNG", "EDOTDOT", "EL2HLT"),
            *("EL2NSYNC", "EL3HLT", "EL3RST", "ELNRNG", "ENOANO", "ENOCSI", "ENOSTR", "ENOTUNIQ"),
            *("EREMCHG", "ESRMNT", "EUNATCH"),
        ),
        why="no call of today's Linux fails with this",
    ),
)

ERRNOS: tuple[Rule, ...] = (*_OF_FILES, *_OF_SOCKETS, *_OF_BOTH)

# Comes after all other rules for errors of the system.
OTHER_ERRNO = Rule(
    name="filesystem",
    verdict=t.FilesystemError,
    errnos=("*",),
    why="an errno that has no rule here, as on another platform",
)
