"""Every fault and every family of faults has a column in the matrix of the report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaoskit import faults
from chaoskit.faults.forms import NETWORK, TIME, Form
from chaoskit.faults.shapes import FORMS
from chaoskit.report import kinds
from tests.report.samples import clean


def names(forms: tuple[Form, ...]) -> list[str]:
    """The names of faults in these rows of the grammar; those of errors and signals are patterns."""
    patterns = {"E[A-Z0-9]+": "EIO", "SIG[A-Z0-9]+": "SIGTERM"}
    return sorted({name for form in forms for name in patterns.get(form.name, form.name).split("|")})


@pytest.mark.parametrize("name", names(TIME))
def test_what_happens_to_clocks_and_waits_is_counted_there(name: str) -> None:
    """Also at calls that talk, whose other faults are the network's."""
    assert kinds.kind_of(name, "exchange") == "clock"


@pytest.mark.parametrize("name", names(NETWORK))
def test_what_happens_to_traffic_is_counted_there(name: str) -> None:
    """A kill stays a kill."""
    assert kinds.kind_of(name, "exchange") == ("kill" if name == "kill" else "network")


@pytest.mark.parametrize("name", names(tuple(set(FORMS) - set(NETWORK) - set(TIME))))
def test_no_other_fault_counts_as_one_of_the_network(name: str) -> None:
    """``network`` is what is left over, so a new fault without a kind would end there."""
    assert kinds.kind_of(name, "write") in set(kinds.KINDS) - {"network"}


@pytest.mark.parametrize("family", sorted(set(faults._FAMILIES) - {"default", "all"}))
def test_a_family_that_was_asked_for_has_a_column(family: str) -> None:
    """Without one the matrix says "not tried" of it."""
    asked = clean().options
    assert kinds.asked_for(replace(clean(), options=replace(asked, families=(family,))))
