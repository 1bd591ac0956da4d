"""Sets of faults as values: combining, narrowing, showing, refusing."""

from __future__ import annotations

import pickle
from pathlib import PosixPath

import pytest
from made_operations import offered, operation, write

from chaoskit import faults
from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Frame
from chaoskit.faults import FaultSet

STACK = (
    Frame("/usr/lib/python3/shutil.py", 10, "copyfileobj"),
    Frame("/home/me/pkg/store.py", 42, "Store.save"),
    Frame("/home/me/pkg/main.py", 7, "main"),
)


@pytest.mark.parametrize(
    "made",
    [
        faults.disk(),
        faults.all(),
        faults.disk().on(call="write"),
        faults.disk().on(call=("write", "open"), path="*.tmp", site="store.py:42").only("EIO", "short[1]"),
        faults.kill().only("kill[torn *]") | faults.signal(15) | faults.delay(0.25),
    ],
    ids=repr,
)
def test_a_set_shows_itself_as_the_code_that_makes_it(made: FaultSet) -> None:
    """The representation evaluates to an equal set with the same hash, and pickling keeps both."""
    again = eval(repr(made), {"faults": faults})
    assert again == made
    assert hash(again) == hash(made)
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_set_is_immutable() -> None:
    """Narrowing and combining leave the sets that they start from as they were."""
    disk = faults.disk()
    disk.on(call="write").only("EIO")
    assert disk | faults.kill() != disk == faults.disk()


def test_a_union_offers_each_fault_once() -> None:
    """A fault that two parts know is offered where the first part has it, and not again."""
    both = faults.disk().only("EIO") | faults.disk().only("ENOSPC", "EIO") | faults.kill()
    got = offered(both, write(1))
    assert got == ["EIO", "EIO[persistent]", "ENOSPC", "ENOSPC[persistent]", "kill"]


def test_offers_never_vary() -> None:
    """Asked twice, a set offers the same faults in the same order."""
    assert offered(faults.all(), write(9000)) == offered(faults.all(), write(9000))


def test_default_and_all_are_unions_of_the_families() -> None:
    """``default`` strikes disk and life; ``all`` adds what a polite supervisor sends."""
    default, everything = offered(faults.default(), write(9)), offered(faults.all(), write(9))
    assert set(offered(faults.disk() | faults.kill(), write(9))) <= set(default) <= set(everything)
    assert "SIGTERM" in set(everything) - set(default)


@pytest.mark.parametrize(
    ("pattern", "target", "fits"),
    [
        ("*.tmp", "deep/below/a.tmp", True),
        ("*.tmp", "a.tmp/file", False),
        ("deep/*.tmp", "deep/a.tmp", True),
        ("deep/*.tmp", "deep/below/a.tmp", False),
        ("deep/**.tmp", "deep/below/a.tmp", True),
        ("a?c", "abc", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
    ],
)
def test_a_path_is_a_glob_of_the_target(pattern: str, target: str, fits: bool) -> None:
    """``*`` stays within one part of a name, ``**`` does not; nothing else is special but ``?``."""
    assert bool(offered(faults.kill().on(path=pattern), operation("unlink", target))) is fits


def test_a_path_may_be_either_side_of_a_rename() -> None:
    """The source and the destination of a rename both count."""
    rename = operation("rename", "a.tmp", "dir/a")
    for pattern in ("*.tmp", "a", "dir/a"):
        assert offered(faults.kill().on(path=pattern), rename) == ["kill"]
    assert offered(faults.kill().on(path="b"), rename) == []


@pytest.mark.parametrize(
    ("site", "fits"),
    [
        ("store.py:42", True),
        ("pkg/store.py:*", True),
        ("/home/me/pkg/store.py:42", True),
        ("/home/**:42", True),
        ("store.py:4", False),
        ("tore.py:42", False),
        ("Store.save", True),
        ("save", True),
        ("*fileobj", True),
        ("Stor", False),
    ],
)
def test_a_site_is_any_frame_of_the_stack(site: str, fits: bool) -> None:
    """File and line, or a function's name, of the call's own frame or any that led there."""
    assert bool(offered(faults.kill().on(site=site), write(1, stack=STACK))) is fits


def test_no_site_fits_a_call_without_a_python_stack() -> None:
    """The operations of a child that is not a Python program have no call site."""
    assert offered(faults.kill().on(site="*"), write(1)) == []


def test_keywords_of_on_must_all_fit_and_repeated_narrowing_adds() -> None:
    """Alternatives within a keyword, all of the keywords, and all of the calls of ``on``."""
    narrowed = faults.kill().on(call=("write", "unlink"), path="f")
    assert offered(narrowed, write(1)) == ["kill"]
    assert offered(narrowed, operation("unlink", "g")) == []
    assert offered(narrowed.on(call="unlink"), write(1)) == []


def test_only_keeps_all_forms_or_exactly_one() -> None:
    """A bare name keeps every form of a fault, brackets choose among them."""
    disk = faults.disk()
    assert offered(disk.only("EIO"), write(9)) == ["EIO", "EIO[persistent]"]
    assert offered(disk.only("EIO[]"), write(9)) == ["EIO"]
    assert offered(disk.only("EIO[persistent]"), write(9)) == ["EIO[persistent]"]
    assert offered(faults.kill().only("kill[torn *]"), write(5000)) == ["kill[torn 4096]"]


def test_c4_once_is_the_form_that_does_not_last() -> None:
    """``ENOSPC[once]`` needs no knowledge of how a schedule writes it, and reads back."""
    disk = faults.disk()
    assert offered(disk.only("EIO[once]"), write(9)) == ["EIO"]
    assert offered(disk.only("EIO").without("EIO[once]"), write(9)) == ["EIO[persistent]"]
    assert repr(disk.only("EIO[once]", "short[1]")) == "faults.disk().only('EIO[once]', 'short[1]')"


def test_c4_without_leaves_out_what_is_named_and_nothing_else() -> None:
    """All forms or one; a part of which nothing is left falls out, and what is left can be narrowed."""
    disk = faults.disk()
    everything = offered(disk, write(9))
    assert offered(disk.without("EIO"), write(9)) == [f for f in everything if not f.startswith("EIO")]
    assert offered(disk.without("EIO[persistent]"), write(9)) == [
        f for f in everything if f != "EIO[persistent]"
    ]
    union = disk | faults.kill()
    assert repr(union.without("kill")) == "faults.disk().without('kill')"
    assert "kill" not in union.without("kill").names
    assert offered(union.without("kill").only("EIO[once]"), write(9)) == ["EIO"]
    assert not faults.kill().without("kill")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "ENOSPC[persistent]",
            "ENOSPC[once]",
            "ENOSPC[]",
            "kill[torn *]",
            "kill[torn 4096]",
            "kill[process]",
        ),
        *("short[1]", "short[*]", "lost[EIO]", "full[0]", "power_loss[ext4]", "fsync_lies", "SIGTERM"),
    ],
)
def test_brackets_that_a_fault_can_have_are_taken(name: str) -> None:
    """Every form of the grammar can be kept and left out."""
    assert faults.all().only(name)
    assert faults.all().without(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ENOSPC[foo]", "expected one of ENOSPC[once], ENOSPC[persistent]"),
        ("ENOSPC[persistent!]", "expected one of ENOSPC[once], ENOSPC[persistent]"),
        ("power_loss[drop 99]", "expected a persistence model in them"),
        ("kill[once]", "kill[process], kill[torn N]"),
        ("short[x]", "short[N]"),
        ("SIGTERM[once]", "expected one of SIGTERM"),
        ("fsync_lies[x]", "expected one of fsync_lies"),
    ],
)
def test_c4_brackets_that_no_fault_can_have_are_an_error(name: str, says: str) -> None:
    """A form that does not exist would keep nothing, or leave out nothing, without a word."""
    for narrow in (faults.all().only, faults.all().without):
        with pytest.raises(UsageError) as caught:
            narrow(name)
        assert says in str(caught.value)


def test_narrowing_a_union_reaches_its_parts() -> None:
    """``only`` on a union drops the parts that cannot make what is wanted."""
    union = (faults.disk() | faults.kill()).on(call="write")
    assert offered(union.only("kill"), write(1)) == ["kill"]
    assert repr(union.only("kill")) == "faults.kill().on(call='write').only('kill')"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: faults.disk().on(call="openat"), "Did you mean 'open'"),
        (lambda: faults.disk().on(call="rnmae"), "Did you mean 'rename'"),
        (lambda: faults.disk().on(), "at least one of call=, path=, site= and host="),
        (lambda: faults.disk().on(path=""), "not empty"),
        (lambda: faults.disk().on(path=["a", 1]), "path= is 1"),
        (lambda: faults.disk().on(path=PosixPath("a")), "path= is PosixPath('a')"),
        (lambda: faults.disk().on(path=b"a"), "path= is b'a'"),
        (lambda: faults.disk().on(call=5), "call= is 5"),
        (lambda: faults.disk().on(site=None), "site= is None"),
        (lambda: faults.disk().on(host="db.example"), "none of these faults touches a network"),
        (lambda: faults.disk().only(), "only() was given nothing"),
        (lambda: faults.disk().only("ENOSP"), "Did you mean 'ENOSPC'"),
        (lambda: faults.disk().only("kill"), "fault of faults.disk() is 'kill'"),
        (lambda: faults.disk().only("EIO").only("ENOSPC"), "expected one of EIO"),
        (lambda: faults.disk().only(28), "fault of faults.disk() is 28 (int)"),
        (lambda: faults.disk().only("EIO["), "expected one of EACCES, "),
        (lambda: faults.http().only("503"), "headers, lost, status, twice, alone or with its form"),
        (lambda: faults.http().only("503"), "Did you mean 'status[503]'?"),
        (lambda: faults.kill().only(9), "fault of faults.kill() is 9 (int)"),
        (lambda: faults.signal("TREM"), "Did you mean 'SIGTERM'"),
        (lambda: faults.signal(0), "a signal's name, number or member"),
        (lambda: faults.signal(None), "a signal's name, number or member"),
        (lambda: faults.signal("KILL"), "Use faults.kill()"),
        (lambda: faults.signal("SIGSTOP"), "stop the workload forever"),
        (lambda: faults.delay(0), "above zero"),
        (lambda: faults.delay(float("inf")), "finite"),
        (lambda: faults.delay("1"), "a number of seconds"),
        (lambda: faults.kill() | None, "a set of faults such as"),
        (lambda: faults.kill() | faults.disk, "Call it: faults.disk()"),
        (lambda: faults.disk | faults.kill(), "Call it: faults.disk()"),
        (lambda: faults.netwrok(), "family of faults is 'netwrok'"),
        (lambda: faults.dsik(), "Did you mean 'disk'"),
    ],
)
def test_wrong_use_is_answered_with_the_next_step(wrong, says: str) -> None:
    """Every misuse is an immediate UsageError that names the value and what was expected."""
    with pytest.raises(UsageError) as caught:
        wrong()
    assert says in str(caught.value)


def test_what_does_not_exist_is_not_there_for_hasattr_either() -> None:
    """Families to come are absent, not stubs: ``hasattr`` and introspection see an AttributeError."""
    assert not hasattr(faults, "gremlins")
    assert not hasattr(faults, "__wrapped__")


@pytest.mark.parametrize("same", ["SIGTERM", "term", 15])
def test_a_signal_may_be_named_in_any_way(same: str | int) -> None:
    """Name with or without SIG, in any case, or number: the same set."""
    assert faults.signal(same) == faults.signal("SIGTERM")
