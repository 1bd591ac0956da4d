"""Rules for the errors of paramiko. Network errors below it are OSErrors, and judged as such."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "paramiko.ssh_exception"

LIBRARY = Library(
    name="paramiko",
    source="paramiko.ssh_exception; RFC 4254, 5.1 for the reasons of channels",
    # A channel's reason is a small number, not an HTTP status.
    code_of=lambda error: getattr(error, "code", ""),
    rules=(
        Rule(
            name="ssh.host-key",
            verdict=t.SecurityError,
            types=classes(_MODULE, "BadHostKeyException"),
            why="the server's key is not the known one",
        ),
        Rule(
            name="ssh.unknown-host",
            verdict=t.SecurityError,
            types=classes(_MODULE, "SSHException"),
            message=r"not found in known_hosts|unknown server",
            why="the server's key is unknown, so it could be any machine",
        ),
        Rule(
            name="ssh.login-timeout",
            verdict=t.Overloaded,
            types=classes(_MODULE, "AuthenticationException"),
            message=r"timeout",
            why="the login was not answered in time",
        ),
        Rule(
            name="ssh.credentials",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "AuthenticationException", "ConfigParseError", "CouldNotCanonicalize"),
            why="user, key or password is wrong, or the configuration is",
        ),
        Rule(
            name="ssh.key-file",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "SSHException"),
            message=r"private key|no authentication methods|encountered .* key",
            why="the key cannot be used",
        ),
        Rule(
            name="ssh.version",
            verdict=t.ServiceVersionMismatch,
            types=classes(_MODULE, "IncompatiblePeer"),
            why="no algorithm that both sides speak",
        ),
        Rule(
            name="ssh.channel-shortage",
            verdict=t.ResourceError,
            types=classes(_MODULE, "ChannelException"),
            codes=("4",),
            why="the server is short of channels",
        ),
        Rule(
            name="ssh.channel-connect",
            verdict=t.Unreachable,
            types=classes(_MODULE, "ChannelException"),
            codes=("2",),
            why="the server could not reach the target of the forwarding",
        ),
        Rule(
            name="ssh.channel-refused",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "ChannelException"),
            why="the server does not allow this kind of channel",
        ),
        Rule(
            name="ssh.unreachable",
            verdict=t.Unreachable,
            types=classes(_MODULE, "NoValidConnectionsError", "ProxyCommandFailure"),
            why="no address of the host accepted the connection",
        ),
        Rule(
            name="ssh.tampered",
            verdict=t.SecurityError,
            types=classes(_MODULE, "MessageOrderError"),
            why="messages arrived in an order that only an attack produces",
        ),
        Rule(
            name="ssh.timeout",
            verdict=t.Overloaded,
            types=classes(_MODULE, "SSHException"),
            message=r"timeout",
            why="no answer in time",
        ),
    ),
    vague=(
        Rule(
            name="ssh.broken",
            verdict=t.TransientError,
            types=classes(_MODULE, "SSHException"),
            why="the session broke, or its banner did not arrive",
        ),
    ),
)
