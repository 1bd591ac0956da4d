"""Handles calls that are not operations but affect what we can see: notes them, or refuses them."""

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
    """Handles the calls of :data:`WATCHED`, most of them as their rows say.

    ``in_company`` is called before a process or thread starts, since then several calls may wait, and before
    a timer starts, since its signal may interrupt a waiting call.
    """

    def __init__(self, workload: Tree, log: Log, in_company: Callable[[], object]) -> None:
        self._in_company = in_company
        self._tree = workload
        self._asked: set[str] = set()
        self._log = log
        self._arch = abi.AUDIT_ARCH[abi.machine()]

    def see_to(self, call: Notification, stopped: Stopped) -> None:
        """Note the call and answer it. A call for another architecture is refused."""
        row = _BY_NUMBER.get(call.number) if call.arch == self._arch else None
        if row is None:
            # Its number means a different call there, possibly one that we have to see.
            text = "a call for another architecture was refused"
            self._log.caveat("foreign-architecture", tree.comm(call.tid), text)
            stopped.answer(-errno.ENOSYS)
            return
        if row.caveat:
            self._log.caveat(row.caveat, tree.comm(call.tid), row.text.format(name=row.name))
        # Some change what we know of the process, even if they fail.
        special = _SPECIAL.get(row.name)
        answer = special(self, row, call) if special is not None else None
        # An older kernel says ENOSYS, so every program has an alternative.
        if row.refused or answer is not None:
            stopped.answer(-errno.ENOSYS if answer is None else answer)
        else:
            stopped.go_on()

    def _company(self, row: Watched, call: Notification) -> None:
        self._in_company()

    def _session(self, row: Watched, call: Notification) -> int | None:
        """Note that the process leads a session: all its processes, known or not, die with the run.

        The first process leads a session from its start, so that signals to ours do not reach it. Without us
        it would lead none and now get one, so we answer for the kernel, which would refuse.
        """
        pid = int(tree.status(call.tid).get("Tgid", b"0"))
        self._tree.leads(pid)
        own = pid == self._tree.pid and not self._asked
        self._asked |= {"session"} if own else set()
        return pid if own else None

    def _group(self, row: Watched, call: Notification) -> int | None:
        """The same if the first process, which leads a group already, makes itself the leader of one."""
        pid = int(tree.status(call.tid).get("Tgid", b"0"))
        # pid_t has 32 bits (setpgid(2)), and zero means the caller.
        own = {argument & 0xFFFFFFFF for argument in call.args[:2]} <= {0, pid} and pid == self._tree.pid
        if not own or "session" in self._asked:
            return None
        self._asked.add("group")
        return 0

    def _confined(self, row: Watched, call: Notification) -> None:
        """Calls that we make for the process would be made outside its Landlock domain."""
        self._tree.confine()

    def _table(self, row: Watched, call: Notification) -> None:
        """The thread may have descriptors that its process does not have."""
        task = self._tree.task(call.tid)
        if task is not None and call.args[0] & _CLONE_FILES:
            task.process.tables_differ = True

    def _program(self, row: Watched, call: Notification) -> None:
        """The process may run another program at its next call."""
        task = self._tree.task(call.tid)
        if task is not None:
            self._tree.replacing(task)

    def _filter(self, row: Watched, call: Notification) -> None:
        """A filter on top of ours decides first. Strict mode (0) counts as one."""
        # Other operations of seccomp(2) only query; other operations of prctl do not stop.
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
