"""The errors of what is stored are part of the taxonomy: category, hint, pickling, and a drawn tree."""

from __future__ import annotations

import pickle

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import classify
from chaoskit.runtime.failures import stored
from chaoskit.runtime.failures.taxonomy import Category, ResilienceError

CLASSES = [getattr(stored, name) for name in stored.__all__ if name != "StoreForked"]

CATEGORIES = {
    stored.StoreBusy: Category.TRANSIENT,
    stored.OutcomeUnknown: Category.RECOVERABLE,
    stored.StoreTooNew: Category.CONFIGURATION,
    stored.StoreGone: Category.PERMANENT,
    stored.LeaseLost: Category.PERMANENT,
    stored.StoreCorrupt: Category.DATA_INTEGRITY,
    stored.RecordCorrupt: Category.DATA_INTEGRITY,
}


@pytest.mark.parametrize("cls", CLASSES)
def test_each_has_its_category_and_a_next_step(cls: type[ResilienceError]) -> None:
    """The category decides what the runtime does, and the hint says what a person does."""
    error = cls("what was seen")
    assert error.category is CATEGORIES[cls]
    assert error.hint.endswith(".")
    assert classify(error).category is CATEGORIES[cls]


@pytest.mark.parametrize("cls", CLASSES)
def test_each_survives_pickling(cls: type[ResilienceError]) -> None:
    """Type, message and fields arrive in another process."""
    error = pickle.loads(pickle.dumps(cls("what was seen", stage="save")))
    assert type(error) is cls
    assert (str(error), error.stage) == ("what was seen", "save")


def test_an_unknown_outcome_names_what_to_ask_for() -> None:
    """The operation id travels with the error, into its record and through pickling."""
    error = pickle.loads(pickle.dumps(stored.OutcomeUnknown("no answer", operation_id="7f")))
    assert error.operation_id == error.to_dict()["operation_id"] == "7f"


def test_a_fork_is_wrong_use() -> None:
    """It is an error of the program, so that no retry is tried."""
    assert issubclass(stored.StoreForked, UsageError)


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    """Every class stands in the docstring."""
    assert all(f"── {name} " in (stored.__doc__ or "") for name in stored.__all__)
