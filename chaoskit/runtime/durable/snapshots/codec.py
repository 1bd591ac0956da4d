"""State to bytes and back: typed, verified, and without executing anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chaoskit.core.errors import ChaoskitError
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.snapshots.checksums import Checksum, check_checksum
from chaoskit.runtime.durable.snapshots.container import Buffer, pack, unpack
from chaoskit.runtime.durable.snapshots.decoding import StateDecoder
from chaoskit.runtime.durable.snapshots.encoding import Encoder, Unstorable
from chaoskit.runtime.durable.snapshots.registry import Registry
from chaoskit.runtime.durable.snapshots.signed import SignedPickle
from chaoskit.runtime.failures.stored import RecordCorrupt
from chaoskit.runtime.failures.taxonomy import CheckpointError, ConfigurationError

__all__ = ["StateCodec"]

Class = TypeVar("Class", bound=type)


class StateCodec:
    """Writes state as a typed JSON head and raw buffers, with a checksum, and reads back an equal state.

    It knows None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset,
    datetime, date, time, timedelta, Decimal, UUID, Path, ``array.array``, arrays and scalars of NumPy, and
    DataFrame, Series and Timestamp of pandas. Dataclasses, enums and other classes have to be registered.
    Unknown types are refused, and so are subclasses: every value comes back with the type that it had. An
    object that occurs in several places comes back as several objects.

    Loading never imports or executes anything that a snapshot names, unless ``pickle`` is given: then all
    other types are pickled and signed. ``checksum`` is ``"sha256"``, or ``"xxh3"`` with the package xxhash,
    which is many times faster and guards against accidents only.

    Raises:
        UsageError: there is no such checksum.
        ConfigurationError: the package xxhash is not installed.
    """

    def __init__(self, *, checksum: Checksum = "sha256", pickle: SignedPickle | None = None) -> None:
        self._checksum = check_checksum(checksum)
        self._pickle = kinds.instance("pickle", pickle, SignedPickle, optional=True)
        self._registry = Registry()

    def register(
        self,
        cls: Class,
        name: str | None = None,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> Class:
        """Let objects of exactly this class be saved, as ``name`` or the class's own name; return the class.

        A dataclass is saved as its fields, and loaded by calling the class; a field that an older snapshot
        lacks gets its default. An enum member is saved as its name. For any other class give both functions:
        ``encode`` turns an object into something that can be saved, and ``decode`` turns that back.

        Raises:
            UsageError: the class is neither a dataclass nor an enum, and the functions are missing; or
                another class has the name.
        """
        self._registry.add(cls, name, encode, decode)
        return cls

    def pieces(self, state: Any, meta: Mapping[str, Any] | None = None) -> list[Buffer]:
        """The bytes of ``dumps``, in pieces. Large pieces are the state's own memory, which saves a copy.

        ``meta`` holds JSON values that can be read without loading the state.

        Raises:
            CheckpointError: a part of the state cannot be saved; the message says where it is.
        """
        try:
            encoder = Encoder(self._registry, self._pickle)
            return pack(encoder(state), dict(meta or {}), encoder.buffers(), self._checksum)
        except (Unstorable, UnicodeEncodeError, RecursionError):
            pass  # Encoded again below, in a way that finds the part at fault.
        return self._precisely(state, dict(meta or {}))

    def dumps(self, state: Any) -> bytes:
        """The state as bytes.

        Raises:
            CheckpointError: as ``pieces``.
        """
        return b"".join(self.pieces(state))

    def loads(self, data: Buffer) -> Any:
        """The state. If ``data`` is writable, arrays share its memory; otherwise they are copies.

        Raises:
            RecordCorrupt: the bytes are not the ones that were written, or a class can't build its object.
            StoreTooNew: a newer version wrote them.
            SecurityError: a pickle is not signed with this key.
            ConfigurationError: a class is not registered, or a key or a package is missing.
        """
        found = unpack(memoryview(data).cast("B"))
        try:
            return StateDecoder(found.buffers, self._registry, self._pickle)(found.state)
        except ChaoskitError:
            raise
        except ImportError as error:
            raise _missing(error) from error
        except Exception as error:
            raise RecordCorrupt(
                f"the snapshot is whole, but its state cannot be built: {type(error).__name__}: {error}",
                hint="A class may have changed since it was saved. If not, load the snapshot before it.",
            ) from error.__cause__

    def _precisely(self, state: Any, meta: dict[str, Any]) -> list[Buffer]:
        """Encode value by value. Either this succeeds after all, or its error says which part is at fault."""
        encoder = Encoder(self._registry, self._pickle, precise=True)
        try:
            return pack(encoder(state), meta, encoder.buffers(), self._checksum)
        except Unstorable as error:
            way = "state" + "".join(reversed(error.steps))
            raise CheckpointError(
                f"{way} cannot be saved: {error.why}",
                hint="Nothing was written. Change that part of the state, or register its class.",
                context={"path": way},
            ) from error.__cause__


def _missing(error: ImportError) -> ChaoskitError:
    return ConfigurationError(
        f"the snapshot holds values of the package {error.name!r}, which cannot be imported: {error}",
        hint=f"Install {error.name}.",
    )
