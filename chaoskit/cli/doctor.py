"""``chaoskit doctor``: what works on this machine, what does not, and why."""

from __future__ import annotations

import click

from chaoskit.cli.group import NO
from chaoskit.cli.output import print_json
from chaoskit.doctor import Diagnosis, Item, examine
from chaoskit.inject import backends

_COLOURS = {"ok": "green", "degraded": "yellow", "no": "red"}
_WIDTH = max(map(len, _COLOURS))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Show which backends and faults work on this machine, and why not.

    Everything is tried out in a temporary directory. Exit code 0 if the default backend works with all of
    its faults, 1 if not; degraded items do not change it.
    """
    found = examine()
    if as_json:
        print_json(found.to_dict())
    else:
        for area in found.areas:
            click.echo(click.style(area, bold=True))
            width = max(len(item.name) for item in found.of(area))
            for item in found.of(area):
                _show(item, width)
            click.echo()
        click.echo(_verdict(found))
    return 0 if found.ok else NO


def _show(item: Item, width: int) -> None:
    status = click.style(item.status.ljust(_WIDTH), fg=_COLOURS[item.status])
    click.echo(f"  {status}  {item.name.ljust(width)}  {item.detail}")
    if item.hint:
        click.echo(f"  {' ' * _WIDTH}  {' ' * width}  {item.hint}")


def _verdict(found: Diagnosis) -> str:
    if found.ok:
        return f"The default backend ({found.backend}) works here, with all of its faults."
    broken = [item for item in found.items if item.needed and item.status == "no"]
    reason = f"{broken[0].name}: {broken[0].detail}."
    text = f"The default backend ({found.backend}) does not work here. {reason} {broken[0].hint}".rstrip()
    for name in backends.NAMES:
        needs = found.of(f"{name} backend")
        if name != found.backend and needs and all(item.status == "ok" for item in needs):
            text += f" Scenarios for the {name} backend still run: --chaoskit-backend={name}."
    return text
