"""The resource monitor: edges are told once, on a thread that nothing ends."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import ResourceAlert, ResourceCleared, ResourceMonitor, ResourceThreshold
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.guarding.resources.readings import Usage

from .limited import in_small_disk, limited


def names(events):
    return [type(event).__name__ for event in events]


@pytest.fixture
def free(monkeypatch):
    """What the disk says that is left; change ``free[0]``."""
    now = [100]
    monkeypatch.setattr(readings, "disk", lambda path: Usage(0, now[0], "there"))
    return now


def test_a_crossing_is_told_once_and_so_is_the_way_back(free):
    """A value that moves about the limit is one alert; it clears a tenth to the good side."""
    events = []
    monitor = ResourceMonitor([ResourceThreshold("disk", 50)], listeners=[events.append])
    assert monitor.look() == ()
    for left in (49, 51, 40, 54):
        free[0] = left
        assert monitor.look() == monitor.thresholds
    assert names(events) == ["ResourceAlert"]
    assert (events[0].value, events[0].limit, events[0].bound) == (49, 50, "there")
    free[0] = 55
    assert monitor.look() == ()
    assert names(events) == ["ResourceAlert", "ResourceCleared"]


def test_much_of_what_rises_is_bad():
    """Threads and memory in use alert above their limit."""
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(3)]
    now = threading.active_count()
    monitor = ResourceMonitor(
        [ResourceThreshold("threads", now + 2, clear=now + 1), ResourceThreshold("rss", 1)]
    )
    assert [one.resource for one in monitor.look()] == ["rss"]
    for one in threads:
        one.start()
    assert [one.resource for one in monitor.look()] == ["rss", "threads"]
    over.set()
    for one in threads:
        one.join()
    assert [one.resource for one in monitor.look()] == ["rss"]


def test_it_looks_on_a_thread_until_it_is_closed(free):
    """The alert comes without anyone asking, and after the end there is no thread left."""
    told = threading.Event()
    free[0] = 1
    with ResourceMonitor(
        [ResourceThreshold("disk", 50)], every=0.01, listeners=[lambda e: told.set()]
    ) as monitor:
        assert told.wait(30)
        with pytest.raises(UsageError, match="runs already"):
            monitor.start()
    assert not any(one.name == "chaoskit-resources" for one in threading.enumerate())
    monitor.close()


def test_a_listener_that_raises_and_a_reader_that_fails_do_not_end_it(free, monkeypatch, caplog):
    """The thread goes on, and what could not be read is logged once, not at each look."""
    looks, again = [], threading.Event()

    def broken(path):
        looks.append(path)
        if len(looks) == 5:
            again.set()
        raise OSError(5, "Input/output error")

    def bad(event):
        raise RuntimeError("a listener")

    monkeypatch.setattr(readings, "disk", broken)
    thresholds = [ResourceThreshold("rss", 1), ResourceThreshold("disk", 5)]
    with caplog.at_level(logging.WARNING), ResourceMonitor(thresholds, every=0.001, listeners=[bad]):
        assert again.wait(30)
    assert [one.message for one in caplog.records].count(
        "disk is not watched: [Errno 5] Input/output error"
    ) == 1


def test_a_small_disk_that_fills_up_is_told():
    """On a real file system of 4 MB, by its own numbers, and again when there is room."""
    found = in_small_disk(
        "import json, os\nfrom chaoskit.runtime import ResourceMonitor, ResourceThreshold\n"
        "told = []\n"
        "low = [ResourceThreshold('disk', 2 << 20, path='/mnt')]\n"
        "m = ResourceMonitor(low, listeners=[lambda e: told.append(e.name)])\n"
        "m.look()\nopen('/mnt/a', 'wb').write(bytes(3 << 20))\nm.look()\nos.unlink('/mnt/a')\nm.look()\n"
        "print(json.dumps(told))"
    )
    assert found == ["resource.alert", "resource.cleared"]


def test_descriptors_that_run_out_are_told():
    """Below a real limit of 64, when fewer than 16 are left."""
    found = limited(
        "import json, os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from chaoskit.runtime import ResourceMonitor, ResourceThreshold\n"
        "m = ResourceMonitor([ResourceThreshold('descriptors', 16)])\n"
        "before = len(m.look())\nheld = [os.open('/dev/null', 0) for _ in range(46)]\n"
        "during = len(m.look())\n[os.close(one) for one in held]\n"
        "print(json.dumps([before, during, len(m.look())]))"
    )
    assert found == [0, 1, 0]


def test_a_forked_child_begins_again(free):
    """The thread stays in the parent; the child may start one of its own."""
    with ResourceMonitor([ResourceThreshold("disk", 50)], every=30) as monitor:
        child = os.fork()
        if child == 0:
            os._exit(0 if monitor.start().look() == () else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResourceThreshold("disk", 0),
        lambda: ResourceThreshold("disc", 1),
        lambda: ResourceThreshold("disk", 5, clear=4),
        lambda: ResourceThreshold("rss", 5, clear=5),
        lambda: ResourceMonitor([], every=0),
    ],
)
def test_what_cannot_be_is_refused(make):
    """When it is made."""
    with pytest.raises(UsageError, match="expected"):
        make()


def test_alerts_are_events():
    """With names that are promised."""
    assert (ResourceAlert.name, ResourceCleared.name) == ("resource.alert", "resource.cleared")
