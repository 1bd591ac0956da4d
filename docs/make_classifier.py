"""Write the tables of docs/runtime/classifier.md from the rules: python docs/make_classifier.py"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from chaoskit.runtime.failures.built_in import BUILT_IN, INTERRUPTS
from chaoskit.runtime.failures.errnos import ERRNOS, OTHER_ERRNO
from chaoskit.runtime.failures.index import HOMES, load
from chaoskit.runtime.failures.library import Library
from chaoskit.runtime.failures.processes import PROCESSES
from chaoskit.runtime.failures.rules import Rule
from chaoskit.runtime.failures.statuses import STATUSES

PAGE = Path(__file__).parent / "runtime" / "classifier.md"
HEAD = ["| rule | if the error has | category | since |", "| --- | --- | --- | --- |"]


def rows(rules: Iterable[Rule]) -> Iterator[str]:
    """One row of Markdown for each rule, in the order in which they are asked."""
    for rule in rules:
        verdict = f"`{rule.verdict.category.value}` ({rule.verdict.__name__})"
        yield f"| `{rule.name}` | {conditions(rule)} | {verdict} | {rule.why} |"


def conditions(rule: Rule) -> str:
    """What the rule looks at, in words."""
    said = [
        # Kept once: one class may have several homes, which differ by version.
        ("class", [f"`{name}`" for name in dict.fromkeys(map(_class, rule.types))]),
        ("errno", [f"`{one}`" for one in rule.errnos] if rule.errnos != ("*",) else ["any"]),
        ("Windows error", [str(one) for one in rule.winerrors]),
        ("status", [_number(one) for one in rule.statuses]),
        ("code", [f"`{one}`" for one in rule.codes]),
        ("exit code", [_number(one) for one in rule.exit_codes]),
        ("text", [_pattern(rule.message)] if rule.message else []),
        ("standard error", [_pattern(rule.stderr)] if rule.stderr else []),
        ("path", [] if rule.names_file is None else ["named" if rule.names_file else "not named"]),
        ("more", ["a look at the error itself"] if rule.when else []),
    ]
    return "; ".join(f"{name} {', '.join(values)}" for name, values in said if values)


def _class(one: type[BaseException] | str) -> str:
    name = one if isinstance(one, str) else one.__qualname__
    # Of a long list of full names a reader needs the library once, which the heading has.
    last = name.rpartition(".")[2]
    return name if last.lower() == "error" else last


def _number(one: int | range) -> str:
    if not isinstance(one, range):
        return str(one)
    return f"{one.start} to {one.stop - 1}" if abs(one.start) < 1000 and one.stop < 1000 else "any other"


def _pattern(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def table(rules: Iterable[Rule]) -> str:
    """A whole table."""
    return "\n".join([*HEAD, *rows(rules)])


def libraries() -> Iterator[Library]:
    """Every library's table once, in the order of the index."""
    return (load(module) for module in dict.fromkeys(HOMES.values()))


def of_libraries() -> str:
    """One chapter for each library."""
    shared = {rule.name for rule in load("psycopg").rules if rule.name.startswith("postgres.")}
    chapters = []
    for library in libraries():
        rules = [
            rule
            for rule in (*library.rules, *library.vague)
            if library.name == "psycopg" or rule.name not in shared
        ]
        note = " Its SQLSTATE codes are judged as psycopg's." if library.name == "asyncpg" else ""
        chapters.append(f"### {library.name}\n\nChecked against {library.source}.{note}\n\n{table(rules)}")
    return "\n\n".join(chapters)


def tables() -> dict[str, str]:
    """The generated parts of the page, by their marker."""
    named = {*ERRNOS, *PROCESSES, *STATUSES, OTHER_ERRNO}
    general = [*INTERRUPTS, *(rule for rule in BUILT_IN if rule not in named)]
    return {
        "general": table(general),
        "errnos": table([*ERRNOS, OTHER_ERRNO]),
        "statuses": table(STATUSES),
        "processes": table(PROCESSES),
        "libraries": of_libraries(),
    }


def filled(page: str) -> str:
    """The page with its generated parts brought up to date."""
    for name, text in tables().items():
        marks = re.compile(f"(<!-- {name}: [^\n]*-->\n)(?:.*?)(<!-- end of {name} -->)", re.DOTALL)
        if len(marks.findall(page)) != 1:
            raise ValueError(f"{PAGE} has not exactly one place for {name!r}")
        page = marks.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)  # noqa: B023
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
    print(f"wrote {PAGE}")
