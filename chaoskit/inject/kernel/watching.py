"""Calls that are not operations but change what can be seen: noted, or refused where we would see nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from chaoskit.inject.kernel.listener import Notification, Stopped
from chaoskit.inject.kernel.log import Log
from chaoskit.inject.kernel.seccomp import abi
from chaoskit.inject.kernel.seccomp.syscalls import WATCHED, Watched
from chaoskit.inject.kernel.workload import tree
from chaoskit.inject.kernel.workload.tree import Tree

_CLONE_FILES = 0x400


class Watching:
    """Sees to the calls of :data:`WATCHED`. For most of them the row says all there is to do.

    ``in_company`` is called before a process or thread is started: then more than one call may wait. And
    before a timer is, whose signal may interrupt the one that waits.
    """

    def __init__(self, workload: Tree, log: Log, in_company: Callable[[], object]) -> None:
        self._in_company = in_company
        self._tree = workload
        self._asked: set[str] = set()
        self._log = log
        self._arch = abi.AUDIT_ARCH[abi.machine()]

    def see_to(self, call: Notification, stopped: Stopped) -> None:
        """Note the call and answer it. One for another architecture is refused."""
        row = _BY_NUMBER.get(call.number) if call.arch == self._arch else None
        if row is None:
            # Its number means another call there, which could be any of those that we have to see.
            text = "a call for another architecture was refused"
            self._log.caveat("foreign-architecture", tree.comm(call.tid), text)
            stopped.answer(-errno.ENOSYS)
            return
        if row.caveat:
            self._log.caveat(row.caveat, tree.comm(call.tid), row.text.format(name=row.name))
        # Some change what we know of the process, whether they succeed or not.
        special = _SPECIAL.get(row.name)
        answer = special(self, row, call) if special is not None else None
        # ENOSYS is what an older kernel says, so every program has a way around.
        if row.refused or answer is not None:
            stopped.answer(-errno.ENOSYS if answer is None else answer)
        else:
            stopped.go_on()

    def _company(self, row: Watched, call: Notification) -> None:
        self._in_company()

    def _session(self, row: Watched, call: Notification) -> int | None:
        """Note that the process leads a session: everything in it dies with the run, met or not.

        The first process leads one from its start, so that a signal to ours does not reach it. Started
        without us it would not, and would get one now: the kernel, which refuses, is not asked.
        """
        pid = int(tree.status(call.tid).get("Tgid", b"0"))
        self._tree.leads(pid)
        own = pid == self._tree.pid and not self._asked
        self._asked |= {"session"} if own else set()
        return pid if own else None

    def _group(self, row: Watched, call: Notification) -> int | None:
        """Likewise where the first process makes itself the leader of a group, which it is already."""
        pid = int(tree.status(call.tid).get("Tgid", b"0"))
        # pid_t has 32 bits (setpgid(2)), and zero means the caller.
        own = {argument & 0xFFFFFFFF for argument in call.args[:2]} <= {0, pid} and pid == self._tree.pid
        if not own or "session" in self._asked:
            return None
        self._asked.add("group")
        return 0

    def _confined(self, row: Watched, call: Notification) -> None:
        """What is made for the process from here would be made outside of its Landlock domain."""
        self._tree.confine()

    def _table(self, row: Watched, call: Notification) -> None:
        """The thread may have descriptors that its process does not."""
        task = self._tree.task(call.tid)
        if task is not None and call.args[0] & _CLONE_FILES:
            task.process.tables_differ = True

    def _program(self, row: Watched, call: Notification) -> None:
        """The process may be another program when it is seen next."""
        task = self._tree.task(call.tid)
        if task is not None:
            self._tree.replacing(task)

    def _filter(self, row: Watched, call: Notification) -> None:
        """A filter on top of ours decides first. Strict mode (0) is one, too."""
        # Other operations of seccomp(2) only ask; of prctl no others stop.
        if row.name == "prctl" or call.args[0] in (abi.SECCOMP_SET_MODE_FILTER, 0):
            text = "the workload installed a seccomp filter: calls that it decides are not seen"
            self._log.caveat("own-filter", tree.comm(call.tid), text)


_SPECIAL: Mapping[str, Callable[[Watching, Watched, Notification], int | None]] = {
    "clone": Watching._company,
    "clone3": Watching._company,
    "fork": Watching._company,
    "vfork": Watching._company,
    "alarm": Watching._company,
    "setitimer": Watching._company,
    "timer_settime": Watching._company,
    "landlock_restrict_self": Watching._confined,
    "unshare": Watching._table,
    "setsid": Watching._session,
    "setpgid": Watching._group,
    "execve": Watching._program,
    "execveat": Watching._program,
    "seccomp": Watching._filter,
    "prctl": Watching._filter,
}

_BY_NUMBER: Mapping[int, Watched] = {
    number: row for row in WATCHED.values() if (number := row.number(abi.machine())) is not None
}
