"""Errors of the system and of the standard library: every errno, TLS, archives, data, pools and queues."""

from __future__ import annotations

import asyncio
import binascii
import concurrent.futures
import concurrent.futures.process
import concurrent.futures.thread
import configparser
import errno
import gzip
import json
import lzma
import multiprocessing
import pickle
import queue
import shutil
import socket
import ssl
import struct
import tarfile
import zipfile
import zlib
from xml.etree import ElementTree

from chaoskit.core.errors import UsageError
from known_errors.case import Case, one

# What each errno asks for, as an error of a socket or descriptor. From errno(3) and the pages of section 2.
ERRNOS = [
    (
        "resource",
        "full, or used up",
        "ENOSPC EDQUOT EFBIG EMFILE ENFILE ENOMEM ENOBUFS ENOSR EADDRNOTAVAIL EUSERS",
    ),
    ("resource", "a limit of the kernel", "ETOOMANYREFS"),
    (
        "transient",
        "another has it, or a signal came",
        "EAGAIN EINTR EBUSY ETXTBSY EDEADLK ENOLCK ERESTART EXFULL EBADE",
    ),
    ("transient", "the share moved away", "ESTALE"),
    (
        "transient",
        "no connection",
        "ECONNREFUSED EHOSTUNREACH ENETUNREACH ENETDOWN EHOSTDOWN ETIMEDOUT ENONET",
    ),
    ("transient", "the link failed", "ENOLINK ETIME"),
    (
        "transient",
        "broke",
        "ECONNRESET ECONNABORTED EPIPE ENETRESET ENOTCONN ESHUTDOWN EPROTO ECOMM ESTRPIPE",
    ),
    ("transient", "being connected already", "EINPROGRESS EALREADY"),
    ("recoverable", "get a new ticket", "EKEYEXPIRED EKEYREVOKED ENOKEY"),
    ("recoverable", "another way works", "EXDEV EOWNERDEAD"),
    ("configuration", "set up wrongly", "EADDRINUSE EKEYREJECTED"),
    (
        "configuration",
        "the machine cannot do it",
        "EAFNOSUPPORT EPFNOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT EPROTOTYPE ENOPROTOOPT ENOSYS "
        "ENOTSUP ENOPKG ENOEXEC ELIBACC ELIBBAD ELIBEXEC ELIBMAX ELIBSCN",
    ),
    ("validation", "this name or message is too long", "ENAMETOOLONG EMSGSIZE"),
    ("data-integrity", "a checksum or structure is wrong", "EUCLEAN EBADMSG EILSEQ"),
    ("permanent", "may not", "EACCES EPERM EROFS ERFKILL"),
    ("permanent", "not there, or of another kind", "ENOENT ENOTDIR EISDIR EEXIST ENOTEMPTY ELOOP EMLINK"),
    (
        "permanent",
        "the device fails or is gone",
        "EIO EREMOTEIO ENODEV ENXIO ENOMEDIUM EMEDIUMTYPE ENODATA ENOTBLK EMULTIHOP "
        "EREMOTE EISNAM ENOTNAM ENAVAIL",
    ),
    (
        "permanent",
        "the program asks for what cannot be",
        "EINVAL EBADF EBADFD EFAULT ENOTTY ESPIPE E2BIG EDOM ERANGE EOVERFLOW ESRCH ECHILD EIDRM ENOMSG "
        "ENOTRECOVERABLE ENOTSOCK EDESTADDRREQ EISCONN ECANCELED",
    ),
    (
        "permanent",
        "history",
        "EADV EBADR EBADRQC EBADSLT EBFONT ECHRNG EDOTDOT EL2HLT EL2NSYNC EL3HLT EL3RST ELNRNG ENOANO ENOCSI "
        "ENOSTR ENOTUNIQ EREMCHG ESRMNT EUNATCH",
    ),
]

# Where the meaning is another for a call with a path.
OF_FILES = [
    ("permanent", "the FUSE program has ended: mount again", "ENOTCONN"),
    ("transient", "the share's server is away", "ETIMEDOUT EHOSTDOWN ECONNREFUSED ECONNRESET"),
]


TLS_SET_UP = [
    (
        "what the other side says of our certificate or of the name",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED SSLV3_ALERT_CERTIFICATE_REVOKED SSLV3_ALERT_UNSUPPORTED_CERTIFICATE "
        "TLSV1_UNRECOGNIZED_NAME TLSV1_ALERT_ACCESS_DENIED TLSV1_ALERT_INSUFFICIENT_SECURITY",
    ),
    (
        "our own files and settings",
        "KEY_VALUES_MISMATCH PEM_LIB NO_START_LINE NO_CERTIFICATE_OR_CRL_FOUND EE_KEY_TOO_SMALL "
        "DH_KEY_TOO_SMALL CA_MD_TOO_WEAK NO_CIPHER_MATCH",
    ),
    ("an old server", "UNSAFE_LEGACY_RENEGOTIATION_DISABLED"),
]


def _os(name: str, *path: str) -> OSError:
    return OSError(getattr(errno, name), "x", *path)


def _errnos() -> list[Case]:
    return [
        Case(
            f"{name}{' of a file' * len(path)}", lambda name=name, path=path: _os(name, *path), category, why
        )  # type: ignore[misc]
        for table, path in ((ERRNOS, ()), (OF_FILES, ("/share/a",)))
        for category, why, names in table
        for name in names.split()
        if hasattr(errno, name)
    ]


def _tls(text: str) -> ssl.SSLError:
    return ssl.SSLError(1, text)


def _copied(text: str) -> shutil.Error:
    """As shutil.copytree collects what its files met."""
    return shutil.Error([("a", "b", f"[Errno {text}: 'b'")])


CASES: list[Case] = [
    *_errnos(),
    Case("tls certificate", lambda: ssl.SSLCertVerificationError(1, "x"), "security", "another machine"),
    Case("tls text", lambda: _tls("[SSL: CERTIFICATE_VERIFY_FAILED] x"), "security", "another machine"),
    Case(
        "tls plain port",
        lambda: _tls("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
        "configuration",
        "no TLS",
    ),
    Case(
        "tls client",
        lambda: _tls("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] x"),
        "configuration",
        "no certificate",
    ),
    Case(
        "tls versions",
        lambda: _tls("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol"),
        "configuration",
        "none in common",
    ),
    Case(
        "tls eof", lambda: ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "transient", "broke"
    ),
    *[
        Case(f"tls {name}", lambda name=name: _tls(f"[SSL: {name}] x"), "configuration", why)  # type: ignore[misc]
        for why, reasons in TLS_SET_UP
        for name in reasons.split()
    ],
    Case("bz2", lambda: OSError("Invalid data stream"), "data-integrity", "no bzip2"),
    Case(
        "struct", lambda: struct.error("unpack requires a buffer of 4 bytes"), "data-integrity", "too short"
    ),
    Case("wrong use of us", lambda: UsageError("x"), "permanent", "a defect of the program"),
    one("configuration", "no such service", "socket.gaierror", -8, "Servname not supported for ai_socktype"),
    one("resource", "the resolver's memory", "socket.gaierror", -10, "Memory allocation failure"),
    Case("tls closed", lambda: ssl.SSLZeroReturnError(6, "x"), "transient", "closed"),
    Case("dns", lambda: socket.gaierror(socket.EAI_NONAME, "x"), "transient", "names come and go"),
    Case("dns later", lambda: socket.gaierror(socket.EAI_AGAIN, "x"), "transient", "the resolver says later"),
    Case("socket timeout", lambda: TimeoutError("timed out"), "transient", "not in time"),
    Case("refused", ConnectionRefusedError, "transient", "nothing listens"),
    Case("reset", ConnectionResetError, "transient", "broke"),
    Case("blocking", BlockingIOError, "transient", "not ready"),
    Case(
        "copytree full",
        lambda: _copied("28] No space left on device"),
        "resource",
        "one file met a full disk",
    ),
    Case("copytree quota", lambda: _copied("122] Disk quota exceeded"), "resource", "one file met the quota"),
    Case("copytree denied", lambda: _copied("13] Permission denied"), "permanent", "one file is closed"),
    Case("copytree vague", lambda: shutil.Error("x"), "permanent", "one file could not be copied"),
    Case("copy to itself", lambda: shutil.SameFileError("x"), "validation", "this file"),
    Case("tar", lambda: tarfile.ReadError("x"), "data-integrity", "damaged"),
    *(
        # New in CPython 3.11.4.
        [Case("tar bomb", lambda: raised(tarfile.TarInfo("../x"), "/"), "security", "leaves")]
        if (raised := getattr(tarfile, "OutsideDestinationError", None))
        else []
    ),
    Case("zip", lambda: zipfile.BadZipFile("x"), "data-integrity", "damaged"),
    Case("gzip", lambda: gzip.BadGzipFile("x"), "data-integrity", "damaged"),
    Case(
        "gzip cut",
        lambda: EOFError("Compressed file ended before the end-of-stream marker was reached"),
        "data-integrity",
        "cut",
    ),
    Case("zlib", lambda: zlib.error("x"), "data-integrity", "damaged"),
    Case("xz", lambda: lzma.LZMAError("x"), "data-integrity", "damaged"),
    Case("pickle", lambda: pickle.UnpicklingError("x"), "data-integrity", "no pickle"),
    Case("pickle cut", lambda: EOFError("Ran out of input"), "data-integrity", "cut"),
    Case("input ended", lambda: EOFError("EOF when reading a line"), "permanent", "it stays ended"),
    Case("pipe ended", EOFError, "transient", "the other process closed its end"),
    Case("stream ended", lambda: asyncio.IncompleteReadError(b"x", 9), "transient", "the peer closed"),
    Case("stream line", lambda: asyncio.LimitOverrunError("x", 9), "validation", "this line"),
    Case("json", lambda: json.JSONDecodeError("x", "", 0), "data-integrity", "no JSON"),
    Case("xml", lambda: ElementTree.ParseError("x"), "data-integrity", "no XML"),
    Case("ini", lambda: configparser.NoSectionError("x"), "configuration", "the settings"),
    Case("base64", lambda: binascii.Error("x"), "validation", "this value"),
    Case("text", lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), "data-integrity", "another encoding"),
    Case("text out", lambda: UnicodeEncodeError("ascii", "x", 0, 1, "x"), "validation", "this value"),
    Case("value", ValueError, "validation", "this value"),
    Case("missing package", lambda: ModuleNotFoundError("x"), "configuration", "install it"),
    Case("defect", lambda: TypeError("x"), "permanent", "a defect"),
    Case("key", lambda: KeyError("x"), "permanent", "a defect"),
    Case("division", ZeroDivisionError, "permanent", "a defect"),
    Case("recursion", RecursionError, "permanent", "a defect"),
    Case("memory", MemoryError, "resource", "used up"),
    Case("threads", lambda: RuntimeError("can't start new thread"), "resource", "used up"),
    Case(
        "accelerator",
        lambda: RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        "resource",
        "used up",
    ),
    Case("any other", lambda: RuntimeError("x"), "permanent", "not known to pass"),
    Case("ctrl-c", KeyboardInterrupt, "permanent", "a wish to stop"),
    Case("exit", lambda: SystemExit(75), "permanent", "a wish to stop"),
    Case("cancelled", asyncio.CancelledError, "permanent", "a wish to stop"),
    # Pools and queues
    Case(
        "pool killed", lambda: concurrent.futures.process.BrokenProcessPool("x"), "resource", "out of memory"
    ),
    Case(
        "pool set-up", lambda: concurrent.futures.thread.BrokenThreadPool("x"), "configuration", "initializer"
    ),
    Case("pool cancelled", lambda: concurrent.futures.CancelledError(), "permanent", "a wish to stop"),
    Case("pool timeout", lambda: multiprocessing.TimeoutError("x"), "transient", "not in time"),
    Case("pool key", lambda: multiprocessing.AuthenticationError("x"), "security", "no key"),
    Case("pool pickling", lambda: pickle.PicklingError("x"), "permanent", "cannot be sent"),
    Case("queue full", queue.Full, "resource", "consumers are slower"),
    Case("queue empty", queue.Empty, "transient", "nothing yet"),
    Case("asyncio queue full", asyncio.QueueFull, "resource", "consumers are slower"),
    Case("asyncio queue empty", asyncio.QueueEmpty, "transient", "nothing yet"),
    Case("future state", lambda: asyncio.InvalidStateError("x"), "permanent", "a defect"),
    one(
        "resource", "a worker was killed", "joblib.externals.loky.process_executor.TerminatedWorkerError", "x"
    ),
]
