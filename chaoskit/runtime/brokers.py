"""Checks that a Celery broker keeps a message until its task is done."""

from __future__ import annotations

from celery import Celery

from chaoskit.runtime.failures.base import ConfigurationError

__all__ = ["check_broker"]

# The transports of kombu that drop a message as soon as it is fetched: if the worker is then killed, the
# message is lost.
_FORGETFUL = ("memory", "filesystem", "sql")


def check_broker(app: Celery, *, allow: bool = False) -> None:
    """Return if the broker keeps a message until it is acknowledged, or if ``allow`` permits others.

    Raises:
        ConfigurationError: the broker drops messages on delivery. If a worker were killed, its run would wait
            for reconcile().
    """
    kind = app.connection_for_write().transport.driver_type
    if kind in _FORGETFUL and not allow:
        raise ConfigurationError(
            f"the broker's transport is {kind!r}; expected one with acknowledgements, such as Redis or"
            " RabbitMQ. For tests, set forgetful_broker=True on the task."
        )
