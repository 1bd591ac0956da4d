"""Memory pressure: the work is done to its end in batches that fit, and saved before it goes on."""

from __future__ import annotations

import gc
import weakref

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import MemoryPressure, OutOfMemory
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.guarding.resources.readings import Usage

from .limited import limited


def fits(most):
    """Work that runs out of memory above so many items."""

    def work(items):
        if len(items) > most:
            raise MemoryError
        return list(items)

    return work


def test_the_batch_shrinks_until_it_fits_and_nothing_is_lost():
    """Every item once, in order; the emergency checkpoint before each next try."""
    saved, events = [], []
    pressure = MemoryPressure(16, emergency=lambda: saved.append(1), listeners=[events.append])
    parts = list(pressure.run(fits(5), range(20)))
    assert [n for part in parts for n in part] == list(range(20))
    assert max(map(len, parts)) <= 5
    assert len(saved) == 2
    assert [(e.name, e.batch, e.saved) for e in events] == [
        ("memory.pressed", 8, True),
        ("memory.pressed", 4, True),
    ]


def test_it_grows_again_when_things_are_well():
    """After so many good batches, up to the first size and no further."""
    pressure = MemoryPressure(8, grow_after=3)
    for _ in pressure.run(fits(3), range(4)):
        pass
    assert pressure.batch == 2
    sizes = [len(part) for part in pressure.run(fits(99), range(100))]
    assert sizes[:8] == [2, 4, 4, 4, 8, 8, 8, 8]


def test_what_does_not_fit_at_all_is_an_error():
    """With the least batch, and with how far it came."""
    pressure = MemoryPressure(4, least=2)
    with pytest.raises(OutOfMemory, match="a batch of 2 items does not fit") as info:
        list(pressure.run(fits(1), range(4)))
    assert info.value.context == {"done": 0, "items": 4}


def test_what_the_failed_try_held_is_let_go_before_the_checkpoint():
    """Else the collection is of no use: the traceback's frames hold it all."""

    class Large:
        pass

    held = []

    def work(items):
        large = Large()
        held.append(weakref.ref(large))
        if len(items) > 1:
            raise MemoryError
        return large is None

    freed = []
    gc.disable()
    try:
        pressure = MemoryPressure(2, emergency=lambda: freed.append(held[0]() is None))
        list(pressure.run(work, range(2)))
    finally:
        gc.enable()
    assert freed == [True]


def test_a_checkpoint_that_fails_does_not_stop_the_work(caplog):
    """It is logged, and the event says that there is none."""
    events = []

    def broken():
        raise OSError("no space left")

    pressure = MemoryPressure(4, emergency=broken, listeners=[events.append])
    assert [len(part) for part in pressure.run(fits(2), range(4))] == [2, 2]
    assert [event.saved for event in events] == [False]
    assert "no space left" in caplog.text


def test_other_errors_come_through():
    """Only memory is a reason to try again."""
    with pytest.raises(ValueError, match="bad item"):
        list(MemoryPressure(4).run(lambda items: (_ for _ in ()).throw(ValueError("bad item")), range(4)))


def test_little_memory_is_noticed_before_a_batch_begins(monkeypatch):
    """With ``keep_free`` the batch is made smaller while there is room to save."""
    left = iter([10, 10, 99, 99])
    monkeypatch.setattr(readings, "memory", lambda: Usage(0, next(left, 99), ""))
    saved = []
    pressure = MemoryPressure(4, keep_free=50, emergency=lambda: saved.append(1))
    assert [len(part) for part in pressure.run(fits(9), range(4))] == [2, 2]
    assert saved == [1]


def test_under_a_real_limit_the_work_is_done():
    """Batches of 512 MB do not fit in 400 MB of address space more; smaller ones do, and all is done."""
    found = limited(
        "import json, resource\nfrom chaoskit.runtime import MemoryPressure\n"
        "from chaoskit.runtime.guarding.resources.readings import memory\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + (400 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "saved = []\n"
        "p = MemoryPressure(8, emergency=lambda: saved.append(len(bytes(1 << 20))))\n"
        "sizes = list(p.run(lambda items: (len(items), len(bytes(len(items) << 26)))[0], range(32)))\n"
        "print(json.dumps([sum(sizes), max(sizes) < 8, saved[:1]]))"
    )
    assert found == [32, True, [1 << 20]]


@pytest.mark.parametrize(
    "wrong", [{"least": 9}, {"least": 0}, {"shrink": 1}, {"shrink": 0}, {"grow_after": 0}, {"reserve": -1}]
)
def test_numbers_that_cannot_be_are_refused(wrong):
    """When it is made."""
    with pytest.raises(UsageError, match="expected"):
        MemoryPressure(8, **wrong)
