"""Confirm each finding: rebuild its crash state from a new recording and have it judged under each model.

    python -m scenarios.durability.confirm            # prints the evidence
    python -m scenarios.durability.confirm --write    # and writes docs/reference/real-programs-evidence.md

Each store is recorded again (twice, so that names that vary have their wildcards), each schedule of
``known.py`` is turned into its crash state, and :mod:`scenarios.durability.judge`, which does not use the
code that enumerates states, says whether each model named allows it. Names of stores confirm these
alone. Exit status 1 if a state is not confirmed, 2 if one of the stores was not recorded.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from chaoskit.core.schedule import Schedule
from chaoskit.explore.border import Planned, Recording
from chaoskit.explore.crash import CrashSource, CrashState, CrashStates, Script, crash_states
from chaoskit.explore.crash.steps import Step, StepKind
from chaoskit.explore.crash.worlds import CrashWorld
from scenarios.durability.judge import Judge, Objection
from scenarios.durability.judgements import JUDGEMENTS
from scenarios.durability.known import KNOWN

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "real-programs-evidence.md"
TEST = "scenarios/durability/test_stores.py::test_what_was_acknowledged_survives_a_power_loss"
_SHOWN = 4


@dataclass(frozen=True)
class Claim:
    """What is said of a store: what comes of a schedule, and which models allow its crash state."""

    store: str
    consequence: str
    models: tuple[str, ...]
    schedule: str

    @classmethod
    def parse(cls, store: str, text: str) -> Claim:
        """From a line of ``known.py``: ``data loss under ext4, xfs: promise()#1=power_loss[drop 1]``.

        Raises:
            ValueError: for a line that is not of this form.
        """
        match = re.fullmatch(r"([a-z ]+) under ([a-z0-9, -]+): (.+)", text)
        if match is None:
            raise ValueError(f"{store}: {text!r}; expected 'CONSEQUENCE under MODEL, MODEL: SCHEDULE'")
        return cls(store, match[1], tuple(match[2].split(", ")), match[3])

    def __str__(self) -> str:
        return f"{self.consequence} under {', '.join(self.models)}: {self.schedule}"


@dataclass(frozen=True)
class Evidence:
    """What a new recording says to a claim.

    ``refused`` has for each model that does not allow the state what speaks against it, as a sentence;
    ``lines`` describe the state.
    """

    claim: Claim
    refused: Mapping[str, str]
    lines: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """True if every model named allows the state."""
        return bool(self.claim.models) and not self.refused


Recorded = tuple[CrashSource, Recording]


class Keeper:
    """A pytest plugin that keeps, by store, the recording and the source of its crash states."""

    def __init__(self) -> None:
        self.found: dict[str, Recorded] = {}
        self._store = ""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note whose recording comes next."""
        self._store = _in_brackets(item.nodeid)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take what the sources are given from now on."""
        cases = CrashSource.cases

        def kept(source: CrashSource, recording: Recording) -> Iterator[Planned]:
            self.found[self._store] = (source, recording)
            return cases(source, recording)

        with mock.patch.object(CrashSource, "cases", kept):
            yield


def recorded(stores: Sequence[str], options: Sequence[str] = ()) -> Mapping[str, Recorded]:
    """Record the scenarios of these stores, without running any case.

    Raises:
        RuntimeError: if pytest could not do that; its output says why.
    """
    keeper = Keeper()
    arguments = ["--chaoskit-list", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--runxfail"]
    # The caller has imported what pytest would have liked to rewrite; nothing depends on that.
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with keeper.watching(), contextlib.redirect_stdout(io.StringIO()) as output:
        pytest.main([*(f"{TEST}[{store}]" for store in stores), *arguments, *options], plugins=[keeper])
    lacking = [store for store in stores if store not in keeper.found]
    if lacking:
        raise RuntimeError(
            f"no recording of {', '.join(lacking)}; expected pytest to list the points of each. It said:\n"
            f"{output.getvalue()[-2000:]}"
        )
    return keeper.found


def claims(stores: Sequence[str] = ()) -> list[Claim]:
    """Everything that ``known.py`` says, of these stores or of all."""
    return [
        Claim.parse(store, text)
        for store, texts in KNOWN.items()
        for text in texts
        if not stores or store in stores
    ]


def confirm(claim: Claim, source: CrashSource, recording: Recording) -> Evidence:
    """What a recording of the claim's store says to it."""
    planned = source.named(Schedule.parse(claim.schedule), recording)
    if planned is None or not isinstance(planned.world, CrashWorld):
        return Evidence(claim, dict.fromkeys(claim.models, "a new recording has no such state"))
    states, state = planned.world.recorded.states, planned.world.state
    answers = {model: objection(states, state, model) for model in claim.models}
    refused = {model: why for model, why in answers.items() if why}
    return Evidence(claim, refused, tuple(described(states.script, state)))


def objection(states: CrashStates, state: CrashState, model: str) -> str:
    """Why a model does not allow a state; empty if it does.

    Where the steps themselves are not allowed, others that leave the same content and promises are looked
    for: the content is what the test has seen.
    """
    judge = Judge(states.script, model, state.moment.operation)
    found = next(judge.objections(state.persisted, state.garbage), None)
    if found is None:
        return ""
    for other in crash_states(states.script, model):
        if (other.hash, other.moment.promises) == (state.hash, state.moment.promises):
            judge = Judge(states.script, model, other.moment.operation)
            if next(judge.objections(other.persisted, other.garbage), None) is None:
                return ""
    return _sentence(states.script, found)


def _sentence(script: Script, found: Objection) -> str:
    text = f"{step_text(script, script.steps[found.step])}: {found.rule}"
    return text if found.other is None else f"{text} ({step_text(script, script.steps[found.other])})"


# --- what a person reads -------------------------------------------------------------------------------


def described(script: Script, state: CrashState) -> Iterator[str]:
    """Where the power went, what had been acknowledged by then, what is missing and what had synced it."""
    at = state.moment.operation
    yield f"power lost after operation {at} of {len(script.effects)}: {script.trace[at]}"
    promised = [m.operation for m in script.effects[: at + 1] if script.trace[m.operation].call == "promise"]
    said = ", ".join(f"{script.trace[o]} at operation {o}" for o in promised)
    yield f"acknowledged before: {said or 'nothing in this run'}"
    missing = [script.steps[index] for index in state.dropped]
    if not missing:
        yield "missing: nothing"
    for step in missing[:_SHOWN]:
        yield f"missing: {step_text(script, step)}; {_last_sync(script, step, at)}"
    if len(missing) > _SHOWN:
        yield f"missing as well: {len(missing) - _SHOWN} more, the last of operation {missing[-1].operation}"


def step_text(script: Script, step: Step) -> str:
    """One step for a reader: what it is, and the call that made it."""
    what = {
        StepKind.DATA: f"bytes {step.offset} to {step.end}",
        StepKind.GROW: f"growth to {step.size} bytes",
        StepKind.RESIZE: f"size {step.size}",
        StepKind.FREE: "release of the content",
        StepKind.ENTRY: f"name {step.name!r} {'gone' if step.child is None else 'set'}",
        StepKind.ATTRIBUTE: f"attribute {step.name!r}",
    }[step.kind]
    return f"{what} of {script.trace[step.operation]} (operation {step.operation})"


def _last_sync(script: Script, step: Step, at: int) -> str:
    """The last call that synced the file or directory of a step before the power went."""
    whose = "directory" if step.kind is StepKind.ENTRY else "file"
    syncs = [
        effect.operation
        for effect in script.effects[: at + 1]
        if effect.sync is not None and effect.sync.inode in (None, step.owner)
    ]
    if not syncs:
        return f"its {whose} was never synced"
    when = "before that" if syncs[-1] < step.operation else "after that"
    return f"its {whose} was last synced by operation {syncs[-1]}, {when}"


def page(evidence: Sequence[Evidence]) -> Iterator[str]:
    """The evidence as a document."""
    yield HEAD
    for store in dict.fromkeys(one.claim.store for one in evidence):
        yield f"## {store}\n"
        yield f"{JUDGEMENTS[store]}\n"
        for one in evidence:
            if one.claim.store == store:
                yield from _block(one)
        yield ""


def _block(one: Evidence) -> Iterator[str]:
    claim = one.claim
    allowed = ", ".join(model for model in claim.models if model not in one.refused)
    yield f"- {claim.consequence}, `{claim.schedule}`: legal under {allowed or 'none of those named'}"
    yield from (f"    - {line}" for line in one.lines)
    yield from (f"    - **not legal under {model}**: {why}" for model, why in one.refused.items())


HEAD = """# Evidence for the findings in real programs

Each crash state of [the table](../explanation/real-programs.md) was rebuilt from a new recording and judged
under each model that the table names, by code that does not share the rules of the enumeration
(`scenarios/durability/judge.py`, which a test holds against a brute-force reference). Below each schedule
stands where the power went, what the store had acknowledged by then, what is missing, and which sync came
last for that. Operations are numbered within the workload of one recording, so these numbers, unlike the
schedules, may differ from one recording to the next. The sentence at the top of each store was written
by hand after a look at its findings. Made, and made again by anyone, with

```console
$ python -m scenarios.durability.confirm --write
```
"""


def _in_brackets(nodeid: str) -> str:
    return nodeid.partition("[")[2].removesuffix("]")


def gathered(stores: Sequence[str] = (), options: Sequence[str] = ()) -> list[Evidence]:
    """The evidence for all claims, or for those about these stores."""
    said = claims(stores)
    recordings = recorded(list(dict.fromkeys(claim.store for claim in said)), options)
    return [confirm(claim, *recordings[claim.store]) for claim in said]


def main(arguments: list[str]) -> int:
    """Print the evidence, write the page if asked; the exit status: 2 if a store was not recorded."""
    try:
        evidence = gathered([one for one in arguments if one != "--write"])
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    text = "\n".join(page(evidence)).rstrip() + "\n"
    print(text)
    if "--write" in arguments:
        PAGE.write_text(text, encoding="utf-8")
    confirmed = sum(one.confirmed for one in evidence)
    print(f"{confirmed} of {len(evidence)} crash states are confirmed")
    return 0 if evidence and confirmed == len(evidence) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
