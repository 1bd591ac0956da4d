"""The health of a store and of its machine, once, or over HTTP until the command is ended."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from chaoskit.cli.group import NO
from chaoskit.cli.output import print_table, tell
from chaoskit.cli.recovery.opening import PORT, Target, as_json_option, free_port, opened, place_of, say
from chaoskit.runtime.guarding.health.checks import store_checks
from chaoskit.runtime.guarding.health.health import Health
from chaoskit.runtime.guarding.health.records import HealthStatus
from chaoskit.runtime.settings import read_settings

__all__ = ["health"]


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A settings file, whose group health says what else to check.",
)
@click.option("--serve", type=PORT, metavar="PORT", help="Answer GET /health on loopback; 0: any free port.")
@as_json_option
@click.pass_obj
def health(target: Target, config: Path | None, serve: int | None, as_json: bool) -> int:
    """Say whether the store, what is in it and the machine are well; exit code 1 if not."""
    settings = read_settings(config).value.health
    with opened(target) as store:
        checks = {**store_checks(store), **settings.checks(store, place_of(store))}
        looking = Health(checks, timeout=settings.timeout)
        if serve is not None:
            with free_port(serve), looking.serve(serve) as server:
                tell(server.url)
                # Until Ctrl-C, which click turns into an exit.
                threading.Event().wait()
        report = looking.report()

    def text() -> None:
        rows = [(one.name, one.status, one.detail) for one in report.findings]
        print_table("", ("check", "status", "detail"), rows)

    say(as_json, "health", report.to_dict(), text)
    return 0 if report.status == HealthStatus.HEALTHY else NO
