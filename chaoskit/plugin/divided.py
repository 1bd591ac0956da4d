"""``--chaoskit-shards N``: every scenario as N items, since pytest-xdist divides a run by items.

Each item is one shard of the scenario, like those that ``--chaoskit-shard`` runs on several machines. To
everything but pytest they are one scenario, with one name and one result, joined at the end.
"""

from __future__ import annotations

import pytest

from chaoskit.core.errors import UsageError, wrong
from chaoskit.core.evidence import Shard
from chaoskit.plugin.names import MARKER
from chaoskit.plugin.options import hosts
from chaoskit.report import Report, merge
from chaoskit.session.spec import positive_number

_PARAMETER = "_chaoskit_shard"


def number(config: pytest.Config) -> int:
    """How many items each scenario becomes; 1 if its cases must be judged together, or one is run alone.

    Raises:
        UsageError: for anything but ``auto`` or a whole number from 1, and for several items together with
        hosts, which divide the cases of each scenario among themselves.
    """
    text = str(config.getoption("chaoskit_shards") or config.getini("chaoskit_shards") or "1")
    if text == "auto":
        shards = _processes(config)
    else:
        shards = positive_number("--chaoskit-shards", int(text) if text.isdecimal() else text)
    if shards > 1 and hosts(config):
        hint = "Hosts divide the cases of each scenario already: leave one of the two out."
        raise wrong("--chaoskit-shards", shards, "1 together with --chaoskit-hosts", hint)
    options = ["chaoskit_replay", "chaoskit_list", "chaoskit_sync_audit", "chaoskit_exitfirst"]
    options += ["chaoskit_shard", "usepdb"]
    return 1 if any(config.getoption(name, None) for name in options) else shards


def _processes(config: pytest.Config) -> int:
    """How many workers xdist has; works in a worker and in the controller."""
    ours: dict[str, int] = getattr(config, "workerinput", {})
    return ours.get("workercount") or len(config.getoption("tx", None) or ()) or 1


class Divided:
    """Makes the items. ``shards`` is how many of each scenario, at least 2."""

    def __init__(self, shards: int) -> None:
        self._shards = [Shard(one, shards) for one in range(1, shards + 1)]

    # Last, so that the shards of one set of parameters are neighbours.
    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if metafunc.definition.get_closest_marker(MARKER) and "chaos" in metafunc.fixturenames:
            metafunc.fixturenames.append(_PARAMETER)
            metafunc.parametrize(_PARAMETER, self._shards, indirect=True, ids=map(_word, self._shards))

    @pytest.fixture
    def _chaoskit_shard(self, request: pytest.FixtureRequest) -> Shard:
        shard: Shard = request.param
        return shard


def _word(shard: Shard) -> str:
    return f"shard{shard.number}of{shard.of}"


def shard_of(item: pytest.Item) -> Shard | None:
    """The shard that an item is; None if it is the whole scenario."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(_PARAMETER)


def whole(item: pytest.Item) -> str:
    """The node id of the whole scenario, even for a shard: the one that replays and reports use."""
    shard = shard_of(item)
    if shard is None:
        return item.nodeid
    start, _, parameters = item.nodeid.rpartition("[")
    left = [one for one in parameters.removesuffix("]").split("-") if one != _word(shard)]
    return f"{start}[{'-'.join(left)}]" if left else start


def joined(report: Report) -> tuple[Report, str]:
    """The report with one entry for each scenario, and the reason if that fails, as after an interrupt."""
    try:
        return merge((report,)), ""
    except UsageError as error:
        return report, str(error)
