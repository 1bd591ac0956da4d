"""The built-in rules, in the order in which they are tried.

Rules for a single client library are in ``libraries/``; they come after those for interrupts and before all
others. Sources: the manual of the standard library; OpenSSL's reasons; Microsoft's list of system error
codes.
"""

from __future__ import annotations

from chaoskit.core.errors import UsageError
from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.errnos import ERRNOS, OTHER_ERRNO
from chaoskit.runtime.failures.processes import PROCESSES
from chaoskit.runtime.failures.rules import Rule
from chaoskit.runtime.failures.statuses import STATUSES

__all__ = ["BUILT_IN", "INTERRUPTS"]

INTERRUPTS: tuple[Rule, ...] = (
    Rule(
        # First: no rule for a text or a status may take Ctrl-C for a failure to be repeated.
        name="interrupt",
        verdict=t.PermanentError,
        types=(
            *(KeyboardInterrupt, SystemExit, GeneratorExit),
            *("asyncio.exceptions.CancelledError", "trio.Cancelled"),
        ),
        why="a request to stop, not a failure",
    ),
)

# Before the rules for errno: in these classes OpenSSL or the resolver numbers ``errno`` in its own way.
_NETWORK_FIRST = (
    Rule(
        name="tls.certificate",
        verdict=t.SecurityError,
        types=("ssl.SSLCertVerificationError",),
        why="the other side could not prove its identity",
    ),
    Rule(
        name="tls.certificate.text",
        verdict=t.SecurityError,
        types=("ssl.SSLError",),
        message=r"certificate.verify.failed",
        why="the same, after the class was lost on the way",
    ),
    Rule(
        name="tls.set-up",
        verdict=t.ConfigurationError,
        types=("ssl.SSLError",),
        message=r"wrong.version.number|unsupported.protocol|http.request|unknown.protocol|handshake.failure"
        r"|no.(protocols.available|shared.cipher|ciphers.available|cipher.match|application.protocol)"
        # Complaints of the other side about our certificate, name and version: RFC 8446, 6.2.
        r"|alert.(unknown.ca|bad.certificate|unsupported.certificate|protocol.version|access.denied"
        r"|insufficient.security|inappropriate.fallback|unknown.psk)|unrecognized.name|certificate.(required|unknown|expired|revoked)"
        # Defects of our own files and settings.
        r"|(ee|dh|ca).(key|md).too.(small|weak)|key.values.mismatch|pem.lib|no.start.line|bad.decrypt"
        r"|no.certificate|no.private.key|legacy.(renegotiation|sigalg)",
        why="the port does not speak TLS, or version, cipher, certificate or its file do not fit",
    ),
    Rule(
        name="tls",
        verdict=t.TransientError,
        types=("ssl.SSLError",),
        why="the connection broke in the handshake or after it",
    ),
    Rule(
        name="dns.set-up",
        verdict=t.ConfigurationError,
        types=("socket.gaierror",),
        message=r"(servname|ai_family|ai_socktype|address family) .*not supported|bad value for ai_flags",
        why="the service or the family of addresses does not exist",
    ),
    Rule(
        name="dns.memory",
        verdict=t.OutOfMemory,
        types=("socket.gaierror",),
        message=r"memory allocation failure",
        why="the resolver ran out of memory",
    ),
    Rule(
        name="dns",
        verdict=t.Unreachable,
        types=("socket.gaierror", "socket.herror"),
        why="the name was not found, or the resolver did not answer",
    ),
)

# shutil.copytree collects the errors of its files as texts, without an errno.
_COPIES = (
    Rule(
        name="copy.disk-full",
        verdict=t.DiskFull,
        types=("shutil.Error",),
        message=r"no space left on device|\[errno 28\]",
        why="one of the files met a full disk",
    ),
    Rule(
        name="copy.quota",
        verdict=t.QuotaExceeded,
        types=("shutil.Error",),
        message=r"disk quota exceeded|\[errno 122\]",
        why="one of the files met a used-up quota",
    ),
    Rule(
        name="copy.permission",
        verdict=t.PermissionRefused,
        types=("shutil.Error",),
        message=r"permission denied|operation not permitted",
        why="this user may not access one of the files",
    ),
    Rule(
        name="copy.same-file",
        verdict=t.ValidationError,
        types=("shutil.SameFileError", "shutil.SpecialFileError"),
        why="this file cannot be copied there",
    ),
    Rule(
        name="copy",
        verdict=t.FilesystemError,
        types=("shutil.Error", "shutil.ExecError"),
        why="one of the files could not be copied",
    ),
    Rule(
        name="copy.archive",
        verdict=t.CorruptArchive,
        types=("shutil.ReadError",),
        why="not a readable archive",
    ),
)

_WINDOWS = (
    Rule(name="windows.disk-full", verdict=t.DiskFull, winerrors=(39, 112), why="the disk is full"),
    Rule(name="windows.quota", verdict=t.QuotaExceeded, winerrors=(1295,), why="the quota is used up"),
    Rule(name="windows.permission", verdict=t.PermissionRefused, winerrors=(5,), why="access denied"),
    Rule(name="windows.read-only", verdict=t.ReadOnlyFilesystem, winerrors=(19,), why="write-protected"),
    Rule(name="windows.not-found", verdict=t.FileMissing, winerrors=(2, 3), why="file or path not found"),
    Rule(name="windows.too-many-files", verdict=t.TooManyFiles, winerrors=(4,), why="too many open files"),
    Rule(
        name="windows.in-use",
        verdict=t.TransientError,
        winerrors=(32, 33),
        why="another process has the file open or locked",
    ),
    Rule(
        name="windows.network",
        verdict=t.Unreachable,
        winerrors=(53, 59, 64, 121, 1231, 10060, 10061),
        why="the network name or host cannot be reached",
    ),
)

_DATA = (
    Rule(
        name="archive.unsafe",
        verdict=t.UnsafeArchive,
        types=("tarfile.FilterError",),
        why="a member would leave the target directory",
    ),
    Rule(
        name="archive.corrupt",
        verdict=t.CorruptArchive,
        types=(
            "tarfile.ReadError",
            "zipfile.BadZipFile",
            "gzip.BadGzipFile",
            "zlib.error",
            "lzma.LZMAError",
            # The class names the module that defines it, not the one from which it is imported.
            "_lzma.LZMAError",
            "compression.zstd.ZstdError",
            "_zstd.ZstdError",
        ),
        why="truncated, or not what its checksums say",
    ),
    Rule(
        # bz2 has no exception class for this.
        name="archive.invalid",
        verdict=t.CorruptArchive,
        types=(OSError,),
        message=r"\Ainvalid data stream\Z",
        why="not what bzip2 writes",
    ),
    Rule(
        # EOFError has many meanings; if its text has none of these, the other side closed a connection.
        name="archive.truncated",
        verdict=t.CorruptArchive,
        types=(EOFError,),
        message=r"end-of-stream|ended before|end of file|unexpected end",
        why="the compressed data stop in the middle",
    ),
    Rule(
        name="input.ended",
        verdict=t.PermanentError,
        types=(EOFError,),
        message=r"when reading a line",
        why="input() reached the end of its input, which stays ended",
    ),
    Rule(
        name="data.pickle",
        verdict=t.DataIntegrityError,
        types=("pickle.UnpicklingError", "_pickle.UnpicklingError"),
        why="not a pickle, or a damaged one",
    ),
    Rule(
        name="data.pickle-truncated",
        verdict=t.DataIntegrityError,
        types=(EOFError,),
        message=r"ran out of input|where object expected|marshal data too short",
        why="the pickle stops in the middle",
    ),
    Rule(
        name="connection.ended",
        verdict=t.TransientError,
        types=(EOFError,),
        why="the other side of a pipe or connection closed it, as multiprocessing says",
    ),
    Rule(
        name="data.json",
        verdict=t.MalformedData,
        types=("json.decoder.JSONDecodeError",),
        why="the text is not JSON",
    ),
    Rule(
        name="data.struct",
        verdict=t.MalformedData,
        types=("struct.error",),
        why="the bytes do not have the size or type that the format demands",
    ),
    Rule(name="data.csv", verdict=t.MalformedData, types=("_csv.Error",), why="the text is not CSV"),
    Rule(
        name="data.xml",
        verdict=t.MalformedData,
        types=(
            "xml.etree.ElementTree.ParseError",
            "xml.parsers.expat.ExpatError",
            "xml.sax._exceptions.SAXException",
        ),
        why="the text is not XML",
    ),
    Rule(
        name="data.settings",
        verdict=t.ConfigurationError,
        types=("configparser.Error", "tomllib.TOMLDecodeError", "yaml.error.YAMLError"),
        why="a file of settings cannot be read",
    ),
    Rule(
        name="data.encoding",
        verdict=t.MalformedData,
        types=(UnicodeDecodeError,),
        why="the bytes are in another encoding",
    ),
)

_GENERAL = (
    Rule(name="memory", verdict=t.OutOfMemory, types=(MemoryError,), why="memory ran out"),
    Rule(
        name="memory.text",
        verdict=t.OutOfMemory,
        types=(RuntimeError,),
        message=r"(CUDA|HIP|XPU|MPS)\b.*out of memory|CUBLAS_STATUS_ALLOC_FAILED|allocation on device failed",
        why="the memory of the accelerator is used up",
    ),
    Rule(
        name="threads",
        verdict=t.ResourceError,
        types=(RuntimeError,),
        message=r"can't start new thread|can't allocate lock",
        why="the process or the machine cannot start another thread",
    ),
    Rule(
        name="process.timeout",
        verdict=t.Overloaded,
        types=("subprocess.TimeoutExpired",),
        why="the process exceeded its time limit",
    ),
    Rule(
        name="connection.refused",
        verdict=t.Unreachable,
        types=(ConnectionRefusedError,),
        why="no program listens there",
    ),
    Rule(name="connection", verdict=t.TransientError, types=(ConnectionError,), why="the connection broke"),
    Rule(
        name="timeout",
        verdict=t.Overloaded,
        types=(TimeoutError, "concurrent.futures._base.TimeoutError"),
        why="timed out",
    ),
    Rule(
        name="permission.type",
        verdict=t.PermissionRefused,
        types=(PermissionError,),
        why="the user lacks permission",
    ),
    Rule(
        name="not-found.type",
        verdict=t.FileMissing,
        types=(FileNotFoundError, NotADirectoryError),
        why="the path does not exist",
    ),
    Rule(
        name="busy.type",
        verdict=t.TransientError,
        types=(BlockingIOError, InterruptedError),
        why="not ready yet, or a signal arrived",
    ),
    Rule(
        name="kind-of-file.type",
        verdict=t.FilesystemError,
        types=(FileExistsError, IsADirectoryError),
        why="the path is of another kind than the call needs",
    ),
    Rule(name="import", verdict=t.ConfigurationError, types=(ImportError,), why="a package is missing"),
    Rule(
        # UsageError is a ValueError too, but the program is wrong, not its data.
        name="usage",
        verdict=t.PermanentError,
        types=(UsageError,),
        why="chaoskit is used wrongly",
    ),
    # After the classes for data: JSONDecodeError and UnicodeDecodeError are ValueErrors as well.
    Rule(name="value", verdict=t.ValidationError, types=(ValueError,), why="this value is wrong"),
    Rule(
        name="programming",
        verdict=t.PermanentError,
        types=(
            TypeError,
            AttributeError,
            NameError,
            LookupError,
            AssertionError,
            ArithmeticError,
            SyntaxError,
            NotImplementedError,
            RecursionError,
        ),
        why="a defect of the program",
    ),
)

# The order matters: specific rules come before general ones.
BUILT_IN: tuple[Rule, ...] = (
    *_NETWORK_FIRST,
    *STATUSES,
    *_COPIES,
    # Windows maps many errors to one errno, so its own error number says more.
    *_WINDOWS,
    *ERRNOS,
    OTHER_ERRNO,
    *_DATA,
    *PROCESSES,
    *_GENERAL,
)
