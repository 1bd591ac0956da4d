"""``chaoskit recovery serve``: the dashboard, until it is ended."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from chaoskit.cli.output import tell
from chaoskit.cli.recovery.opening import PORT, Target, by_option, free_port, opened, place_of
from chaoskit.core.extras import missing
from chaoskit.runtime.guarding.health.checks import store_checks
from chaoskit.runtime.guarding.health.health import Health
from chaoskit.runtime.settings import read_settings

__all__ = ["serve"]


@click.command()
@click.option("--port", type=PORT, default=0, show_default="any that is free", help="On 127.0.0.1.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A settings file, whose group health says what else to check.",
)
@click.option(
    "--token",
    envvar="CHAOSKIT_TOKEN",
    show_default="a new one, printed",
    help="The token that allows changes: at least 16 letters and digits. [env: CHAOSKIT_TOKEN]",
)
@by_option
@click.pass_obj
def serve(target: Target, port: int, config: Path | None, token: str | None, by: str) -> int:
    """Show runs, retries, dead letters and health in a browser on this machine.

    \f
    Raises BadParameter for a token that can be guessed.
    """
    # Imported here: only this command needs the HTTP server and jinja2, which may be missing.
    try:
        from chaoskit.cli.recovery.dashboard.server import DashboardServer
    except ModuleNotFoundError as error:
        raise missing(error, "jinja2", "report", "The dashboard") from error
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isalnum()):
        raise click.BadParameter("expected at least 16 letters and digits", param_hint="--token")
    settings = read_settings(config).value.health
    with opened(target) as store:
        checks = {**store_checks(store), **settings.checks(store, place_of(store))}
        health = Health(checks, timeout=settings.timeout)
        given = token or secrets.token_hex(16)
        with free_port(port), DashboardServer(store, health, token=given, by=by, port=port) as server:
            tell(server.url)
            if token is None:
                tell(f"Token, to change anything: {given}")
            server.serve_forever()
    return 0
