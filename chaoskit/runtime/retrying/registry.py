"""Policies by name, such as one for each pipeline, with a default for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import (
    BreakerOpen,
    Category,
    Overloaded,
    RateLimited,
    TransientError,
    Unreachable,
)
from chaoskit.runtime.retrying.backoff import FULL, Exponential, band
from chaoskit.runtime.retrying.backoffs import Constant
from chaoskit.runtime.retrying.policy import RetryPolicy

__all__ = ["PolicyRegistry", "ready_policies", "reference_policies"]


class PolicyRegistry(Mapping[str, RetryPolicy]):
    """Policies by name. Immutable: to change one, make another registry with :meth:`with_policies`.

    An unregistered name gets ``default``; without a default it is an error, because a typo in a name must not
    change the number of attempts.
    """

    def __init__(self, policies: Mapping[str, RetryPolicy], *, default: RetryPolicy | None = None) -> None:
        kinds.mapping("policies", policies, "a mapping of names to policies")
        for name, policy in policies.items():
            kinds.text("the name of a policy", name)
            kinds.instance(f"the policy {name!r}", policy, RetryPolicy)
        # A copy, so that the registry does not change with the caller's mapping.
        self._policies = dict(policies)
        self.default = kinds.instance("default", default, RetryPolicy, optional=True)

    def __getitem__(self, name: str) -> RetryPolicy:
        policy = self._policies.get(name, self.default)
        if policy is None:
            known = ", ".join(sorted(self._policies)) or "none"
            raise wrong("policy", name, f"one of: {known}", "Register it, or give the registry a default.")
        return policy

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __len__(self) -> int:
        return len(self._policies)

    def __contains__(self, name: object) -> bool:
        return name in self._policies

    def with_policies(self, policies: Mapping[str, RetryPolicy]) -> PolicyRegistry:
        """A new registry with ``policies`` added; they replace those with the same names."""
        return PolicyRegistry({**self._policies, **policies}, default=self.default)


def ready_policies() -> PolicyRegistry:
    """Policies for three kinds of errors, ready to use: ``network``, ``database`` and ``resource``.

    None of them retries a call that an open breaker rejected: it would be rejected for the whole open period.
    Use them as they are, or as a start: ``retry(ready_policies()["network"], deadline=30)``.
    """
    quick = Exponential(0.05, cap=2.0, jitter=FULL)
    network = RetryPolicy(
        on=Category.TRANSIENT,
        but_not=BreakerOpen,
        attempts=5,
        # A service that says when to come back is healthy: it needs time, not fewer attempts.
        attempts_by={RateLimited: 8},
        wait=Exponential(0.5, cap=30.0, jitter=FULL),
        retry_after_spread=0.1,
        name="network",
    )
    # A conflict with another transaction is over in milliseconds; a restart of the server takes longer, hence
    # the other waits. The function to retry has to be the whole transaction.
    database = RetryPolicy(
        on=Category.TRANSIENT,
        but_not=BreakerOpen,
        attempts=5,
        wait=quick,
        waits={Unreachable: Exponential(0.5, cap=30.0), Overloaded: Exponential(0.5, cap=30.0)},
        name="database",
    )
    # Nothing is freed within a second, and no single wait should delay a job by more than five minutes.
    resource = RetryPolicy(
        on=Category.RESOURCE, attempts=5, wait=Exponential(5.0, cap=300.0), name="resource"
    )
    return PolicyRegistry({policy.name: policy for policy in (network, database, resource)})


def reference_policies() -> PolicyRegistry:
    """Policies for five kinds of pipelines, with numbers from pipelines in production.

    They retry errors that the built-in rules call transient or a lack of resources; ``ingest`` also retries
    errors that no rule knows. Use them as they are, or as a start: ``retry(policies["ingest.file"],
    attempts=5)``.
    """
    minute, hour, day = 60.0, 3600.0, 86400.0
    passing = (Category.TRANSIENT, Category.RESOURCE)
    conservative = Classifier(unknown=TransientError)

    def pipeline(name: str, attempts: int, initial: float, cap: float) -> RetryPolicy:
        wait = Exponential(initial, cap=cap, jitter=band(0.2))
        return RetryPolicy(on=passing, attempts=attempts, wait=wait, name=name)

    policies = (
        # A share or a server that is down for a night comes back eventually.
        RetryPolicy(
            on=passing,
            attempts=None,
            wait=Exponential(5.0, cap=day),
            waits={Unreachable: Exponential(minute, cap=day), Overloaded: Exponential(5.0, cap=10 * minute)},
            quiet=1,
            name="watcher.network",
        ),
        RetryPolicy(
            on=BlockingIOError, attempts=None, wait=Exponential(5.0, cap=day), quiet=1, name="watcher.share"
        ),
        # The transport makes up to twenty quick retries of a request; once a login has expired, the policy
        # below makes one more attempt after a new login.
        RetryPolicy(
            on=passing, attempts=21, wait=Exponential(0.5, cap=minute, jitter=FULL), name="watcher.transport"
        ),
        RetryPolicy(on=Category.RECOVERABLE, attempts=2, wait=Constant(0.0), name="watcher.login"),
        pipeline("neuro", 3, 300.0, hour),
        pipeline("neuro.conversion", 2, 300.0, 1800.0),
        pipeline("neuro.preprocessing", 3, 1800.0, 7200.0),
        pipeline("neuro.reconstruction", 3, 1800.0, hour),
        pipeline("neuro.parcellation", 3, 300.0, 1800.0),
        RetryPolicy(on=conservative, attempts=3, wait=Exponential(1.0, cap=minute), name="ingest.file"),
        pipeline("imaging.stage", 3, 5.0, 300.0),
        pipeline("optimizer.job", 3, 1.0, minute),
    )
    return PolicyRegistry({policy.name: policy for policy in policies})
