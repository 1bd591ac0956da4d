"""The hosts of a run, if any were asked for. The code that talks to them is loaded only then."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from chaoskit.explore.execute import Executor, Serial
from chaoskit.plugin.options import hosts
from chaoskit.report.visible import on_one_line

if TYPE_CHECKING:
    from chaoskit.hosts.fleet import Fleet
    from chaoskit.hosts.serving import HostServer
    from chaoskit.hosts.spread import Spread


class RunHosts:
    """The hosts of one run of pytest; they are started for the first scenario."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._fleet: Fleet | None = None

    def spread(self, item: pytest.Function, local: Executor) -> Spread | None:
        """An executor for the hosts, with ``local`` for the rest; None without hosts, or in a debugger."""
        specs = hosts(self._config)
        if not specs or isinstance(local, Serial):
            return None
        from chaoskit.hosts.fleet import Fleet
        from chaoskit.hosts.places import here
        from chaoskit.hosts.spread import Spread

        if self._fleet is None:
            words = ["-m", "chaoskit.hosts.serving", *map(str, self._config.invocation_params.args)]
            root, asked = self._config.rootpath, self._config.invocation_params
            # Relative: a host to which the code is sent has it in another place.
            self._fleet = Fleet(specs, words, {}, str(root), os.path.relpath(asked.dir, root))
        return Spread(self._fleet, item.nodeid, local, here(self._config.rootpath))

    def lost(self) -> list[str]:
        """A line for each host that was lost, with the reason."""
        lines = []
        for host in () if self._fleet is None else self._fleet.hosts:
            if host.state == "lost":
                why = host.why.strip().splitlines()[-1:] or [""]
                lines.append(f"chaoskit: the host {host.spec} was lost: {on_one_line(why[0])}")
        return lines

    def close(self) -> None:
        """End everything that runs on the hosts."""
        if self._fleet is not None:
            self._fleet.close()


def server_of(config: pytest.Config) -> HostServer | None:
    """The server, if this process serves as a host; it was loaded before pytest began."""
    serving = sys.modules.get("chaoskit.hosts.serving")
    return None if serving is None else config.stash.get(serving.SERVER, None)
