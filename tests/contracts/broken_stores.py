"""Stores with one bug each: for every S row at least one that it must catch."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chaoskit.contracts.store import ChaoskitStore, ChaoskitSubject, StoreSubject
from chaoskit.runtime import Checkpoints, Store


class Files:
    """A naive store, for the bugs that ours has no place for: a file for each key."""

    def __init__(self, place: str) -> None:
        self.place = place
        os.makedirs(place, exist_ok=True)

    def path(self, key: str) -> str:
        return os.path.join(self.place, key)

    def save(self, key: str, value: Any) -> None:
        # Of this process: two that write the same key at once must not take each other's file.
        new = f"{self.path(key)}.{os.getpid()}.new"
        with open(new, "w") as file:
            json.dump(value, file)
        os.replace(new, self.path(key))

    def load(self, key: str) -> Any:
        try:
            with open(self.path(key)) as file:
                return json.load(file)
        except FileNotFoundError:
            raise KeyError(key) from None


class Twin(ChaoskitStore):
    """Ours with the subject of a broken one."""

    subject: type[Any] = ChaoskitSubject
    naive = False

    @contextmanager
    def open(self, place: str) -> Iterator[StoreSubject]:
        if self.naive:
            yield self.subject(f"{place}.d")
            return
        with Store.open(place, durability="process-crash", lock_timeout=0.2, reserve=0) as store:
            yield self.subject(store)

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        if not self.naive:
            super().damage(place, key, stored)
            return
        path = os.path.join(f"{place}.d", key)
        with open(path, "rb") as file:
            content = file.read().replace(b"good", b"evil") if stored is None else stored
        with open(path, "wb") as file:
            file.write(content)


class InPlace(Twin):
    """Writes over what is there, in two halves."""

    naive = True

    class subject(Files):
        def save(self, key: str, value: Any) -> None:
            text = json.dumps(value)
            with open(self.path(key), "w") as file:
                file.write(text[: len(text) // 2])
                file.flush()
                file.write(text[len(text) // 2 :])


class TwoFiles(Twin):
    """Keeps a list in two files, and replaces one after the other, each as it should be."""

    naive = True

    class subject(Files):
        def save(self, key: str, value: Any) -> None:
            half = len(value) // 2
            super().save(f"{key}.1", value[:half])
            super().save(f"{key}.2", value[half:])

        def load(self, key: str) -> Any:
            return [*super().load(f"{key}.1"), *super().load(f"{key}.2")]


class Late(Twin):
    """Says done, and writes each third time."""

    naive = True

    class subject(Files):
        def __init__(self, place: str) -> None:
            super().__init__(place)
            self.count = 0

        def save(self, key: str, value: Any) -> None:
            self.count += 1
            if self.count % 3 == 1:
                super().save(key, value)


class DoneFirst(Twin):
    """Records that a step is done before it runs."""

    class subject(ChaoskitSubject):
        def step(self, key: str, fn: Callable[[], Any]) -> Any:
            with Checkpoints(self.store, pipeline="contract") as steps:
                if steps.is_completed(key):
                    return steps.load(key)
                steps.save(key, "result")
                return fn()


class NeverDone(Twin):
    """Runs a step each time that it is asked for."""

    class subject(ChaoskitSubject):
        def step(self, key: str, fn: Callable[[], Any]) -> Any:
            return fn()


class CheckThenTake(Twin):
    """Looks whether a record is free, and then takes it."""

    naive = True

    class subject(Files):
        def claim(self, key: str) -> object | None:
            try:
                self.load(key)
            except KeyError:
                self.wait_for_another(key)
                self.save(key, "mine")
                return key
            return None

        def wait_for_another(self, key: str) -> None:
            # The bug shows if another process looks between this look and the save. Each of them comes; the
            # bound is for one that died.
            looked = f"looked-{key}-"
            self.save(f"{looked}{os.getpid()}", "")
            for _ in range(3000):
                if sum(name.startswith(looked) and name[-1].isdigit() for name in os.listdir(self.place)) > 1:
                    return
                time.sleep(0.01)


class ErrorsAreResults(Twin):
    """Gives the error of the store as the result of the step."""

    class subject(ChaoskitSubject):
        def step(self, key: str, fn: Callable[[], Any]) -> Any:
            try:
                return super().step(key, fn)
            except Exception as error:
                return str(error)


class PlainJson(Twin):
    """Keeps what ``json`` makes of a value: tuples become lists, and integer keys text."""

    naive = True
    subject = Files


class Forgets(Twin):
    """Keeps no correlation id."""

    class subject(ChaoskitSubject):
        def bury(self, run: str, error: Exception, payload: Any, attempts: int, correlation: str) -> str:
            return super().bury(run, error, payload, attempts, "")


class Doubles(Twin):
    """Hands a run out once for each redrive, without a limit."""

    class subject(ChaoskitSubject):
        def redrive(self, id: str) -> bool:
            self.letters.redrive(id, by="x", force=True)
            return True


class Unlimited(Twin):
    """Puts back forever."""

    class subject(ChaoskitSubject):
        def __init__(self, store: Store) -> None:
            super().__init__(store)
            self.letters._max_redrives = self.letters._poison_after = 1_000_000


class Trusting(Twin):
    """Has no checksum."""

    naive = True
    subject = Files


class Pickles(Twin):
    """Keeps pickles."""

    naive = True

    class subject(Files):
        def save(self, key: str, value: Any) -> None:
            with open(self.path(key), "wb") as file:
                pickle.dump(value, file)

        def load(self, key: str) -> Any:
            with open(self.path(key), "rb") as file:
                return pickle.load(file)


class KeptInMemory(Twin):
    """Shares a connection across the fork, and what the child has written is in the child's memory."""

    naive = True

    class subject(Files):
        def __init__(self, place: str) -> None:
            super().__init__(place)
            self.kept: dict[str, Any] = {}

        def save(self, key: str, value: Any) -> None:
            self.kept[key] = value

        def load(self, key: str) -> Any:
            return self.kept[key]


class OneByOne(Twin):
    """Commits each of several writes by itself."""

    class subject(ChaoskitSubject):
        def together(self, values: Mapping[str, Any], fail: Callable[[], None]) -> None:
            for key, value in values.items():
                self.save(key, value)
            fail()


BROKEN: dict[str, list[type[Twin]]] = {
    "S1": [InPlace, TwoFiles],
    "S2": [Late],
    "S3": [DoneFirst, NeverDone],
    "S4": [CheckThenTake],
    "S5": [ErrorsAreResults],
    "S6": [PlainJson],
    "S7": [Forgets, Doubles, Unlimited],
    "S8": [Trusting],
    "S9": [Pickles],
    "S10": [KeptInMemory],
    "S11": [OneByOne],
}
