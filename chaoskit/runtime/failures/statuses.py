"""Rules for HTTP statuses. Status codes that a service adds are in the table of its library.

Sources: RFC 9110, RFC 6585 and the registry of status codes; otherwise the proxies that send them.
"""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.allowances import is_used_up
from chaoskit.runtime.failures.rules import Rule

__all__ = ["STATUSES"]


STATUSES: tuple[Rule, ...] = (
    Rule(
        name="http.rate-limited",
        verdict=t.RateLimited,
        statuses=(429, 509),
        why="too many requests; 509 is what some hosts send for used-up bandwidth",
    ),
    Rule(
        name="http.secondary-limit",
        verdict=t.RateLimited,
        statuses=(403,),
        when=lambda e: "retry-after" in e.headers or is_used_up(e.headers),
        why="a 403 that says when to come back is a limit, not a refusal",
    ),
    Rule(
        # Before http.overloaded: a 503 with Retry-After is a limit, not a breakdown.
        name="http.retry-after",
        verdict=t.RateLimited,
        statuses=(503,),
        when=lambda e: "retry-after" in e.headers,
        why="it says when to come back",
    ),
    Rule(
        name="http.overloaded",
        verdict=t.Overloaded,
        statuses=(408, 425, 503, 504, 529, 598, 599),
        why="timed out, or busy; 529, 598 and 599 come from proxies",
    ),
    Rule(
        name="http.unauthorized",
        verdict=t.RecoverableError,
        statuses=(401, 407),
        why="new credentials help, the same ones do not",
    ),
    Rule(
        name="http.other-connection",
        verdict=t.TransientError,
        statuses=(421,),
        why="RFC 9110, 15.5.20: may be repeated over another connection",
    ),
    Rule(
        name="http.locked",
        verdict=t.TransientError,
        statuses=(423,),
        why="another client holds the lock",
    ),
    Rule(
        name="http.version",
        verdict=t.ServiceVersionMismatch,
        statuses=(426, 505),
        why="another version of the protocol is asked for",
    ),
    Rule(
        name="http.storage-full",
        verdict=t.ResourceError,
        statuses=(507,),
        why="the server is short of storage",
    ),
    Rule(
        name="http.portal",
        verdict=t.ConfigurationError,
        statuses=(511,),
        why="the network wants a login: the answer is not the server's",
    ),
    Rule(
        name="http.unsupported",
        verdict=t.PermanentError,
        statuses=(501, 506, 508, 510),
        why="the server cannot do it, or its configuration is a loop",
    ),
    Rule(
        name="http.invalid",
        verdict=t.ValidationError,
        statuses=(400, 406, 411, 413, 414, 415, 416, 417, 422, 431),
        why="this request is wrong",
    ),
    Rule(
        name="http.redirect",
        verdict=t.PermanentError,
        statuses=(range(300, 400),),
        why="the client would not follow the redirect, or went in a circle",
    ),
    Rule(
        name="http.client-error",
        verdict=t.PermanentError,
        statuses=(range(400, 500),),
        why="RFC 9110, 15.5: the client has to change the request",
    ),
    Rule(
        name="http.server-error",
        verdict=t.TransientError,
        statuses=(range(500, 600),),
        why="RFC 9110, 15.6: the server failed on a request that looks right",
    ),
)
