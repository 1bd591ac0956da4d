"""Which brokers of Celery keep a message until its task is done."""

from __future__ import annotations

from celery import Celery

from chaoskit.runtime.failures.base import ConfigurationError

__all__ = ["check_broker"]

# These take a message off the queue when it is fetched: that of a killed worker is gone (kombu's transports).
_FORGETFUL = ("memory", "filesystem", "sql")


def check_broker(app: Celery, *, allow: bool = False) -> None:
    """Return if the broker keeps a message until it is acknowledged, or ``allow`` says that it need not.

    Raises:
        ConfigurationError: it forgets it when it hands it out; the run of a killed worker would wait for
            reconcile().
    """
    kind = app.connection_for_write().transport.driver_type
    if kind in _FORGETFUL and not allow:
        raise ConfigurationError(
            f"the broker's transport is {kind!r}; expected one with acknowledgements, such as Redis or"
            " RabbitMQ. For tests, set forgetful_broker=True on the task."
        )
