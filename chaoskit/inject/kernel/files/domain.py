"""Files below the scenario's directory, as a domain."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.core.operation import FileDetail
from chaoskit.faults.errnos import calls_that_keep_failing
from chaoskit.faults.shapes import Damaged, Errno, Filled, Shape
from chaoskit.inject.armed import Armed
from chaoskit.inject.kernel.border import Around, FaultEffect
from chaoskit.inject.kernel.files import effects
from chaoskit.inject.kernel.files.calls import FileCall, FileDecoder
from chaoskit.inject.kernel.files.counting import Counting
from chaoskit.inject.kernel.files.damaging import READERS
from chaoskit.inject.kernel.files.elsewhere import Elsewhere
from chaoskit.inject.kernel.files.fulldisk import FULL_FAMILIES
from chaoskit.inject.kernel.files.record import Recorder
from chaoskit.inject.kernel.files.table import SPECS, FileSpec
from chaoskit.inject.kernel.listener import Stopped
from chaoskit.inject.kernel.seccomp.syscalls import Spec
from chaoskit.inject.kernel.workload.tree import Process, Task


class Files:
    """Calls on files below one root; see :class:`chaoskit.inject.kernel.border.Domain`."""

    specs: ClassVar[tuple[Spec, ...]] = SPECS

    def __init__(self, around: Around) -> None:
        self._root = around.root
        elsewhere = Elsewhere(around.unsynced, heeds=around.log.recording)
        self._recorder = Recorder(around.root, around.log, elsewhere)
        self._decoder = FileDecoder(around.root, self._recorder.becomes_writable, elsewhere)

    @staticmethod
    def lasting(shape: Shape) -> frozenset[str]:
        """The families whose later calls a fault of this shape may answer."""
        match shape:
            case Errno(name, lasting=True):
                return calls_that_keep_failing(name)
            case Filled():
                return FULL_FAMILIES
            case Damaged():
                return READERS
        return frozenset()

    def decode(self, spec: Spec, task: Task, args: tuple[int, ...]) -> FileCall | None:
        """Understand a call; None if it does not concern the root."""
        assert isinstance(spec, FileSpec)
        return self._decoder.decode(spec, task, args)

    def describe(self, call: FileCall, whole: bool) -> FileDetail:
        """What is known about a call before it takes effect; with its data if ``whole``."""
        return self._recorder.describe(call, whole)

    def perform(self, call: FileCall, stopped: Stopped) -> None:
        """Record the call, make it here if its result matters, and make sure that it is answered."""
        self._recorder.observe(call, stopped)

    def effect(self, shape: Shape, call: FileCall) -> FaultEffect:
        """What a fault does to the call; see :mod:`chaoskit.inject.kernel.files.effects`."""
        return effects.effect(shape, call, self._recorder)

    def counter(self, armed: Armed, main: Process) -> Counting | None:
        """A counter by descriptor, for families whose target is the file of a descriptor."""
        return Counting.of(armed, self._root, main)

    @property
    def outstanding(self) -> bool:
        """Files owe nothing."""
        return False

    @property
    def relayed(self) -> dict[int, int | None]:
        """There are no sockets here."""
        return {}

    def settle(self) -> None:
        """Complete the last close: whether it was the last of its file is only known now."""
        self._recorder.settle()

    def at_end(self) -> FileDetail:
        """The final content of files that can change without a call."""
        return FileDetail(seen=self._recorder.unseen.all())

    def close(self) -> None:
        """Close the files that were kept open to see them change."""
        self._recorder.unseen.close()
