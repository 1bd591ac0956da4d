"""The errors of the Docker SDK. Statuses and exit codes are judged by the rules for HTTP and processes."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_MODULE = "docker.errors"

LIBRARY = Library(
    name="docker",
    source="docker.errors; the texts of the engine",
    rules=(
        Rule(
            name="docker.disk-full",
            verdict=t.DiskFull,
            types=classes(_MODULE, "DockerException", "APIError"),
            message=r"no space left on device",
            why="the engine's disk is full",
        ),
        Rule(
            name="docker.port",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "APIError"),
            message=r"port is already allocated|address already in use|could not select device driver",
            why="another container has the port, or a driver is missing",
        ),
        Rule(
            name="docker.rate-limited",
            verdict=t.RateLimited,
            types=classes(_MODULE, "APIError"),
            message=r"toomanyrequests|pull rate limit",
            why="the registry limits pulls",
        ),
        Rule(
            name="docker.image",
            verdict=t.ConfigurationError,
            types=classes(_MODULE, "ImageNotFound"),
            why="the image does not exist",
        ),
        Rule(
            name="docker.unreachable",
            verdict=t.Unreachable,
            types=classes(_MODULE, "DockerException"),
            message=r"error while fetching server api version|connection (aborted|refused)",
            why="the engine does not run, or its socket is elsewhere",
        ),
        Rule(
            name="docker.version",
            verdict=t.ServiceVersionMismatch,
            types=classes(_MODULE, "InvalidVersion", "DeprecatedMethod"),
            why="the engine speaks another version",
        ),
        Rule(
            name="docker.set-up",
            verdict=t.ConfigurationError,
            types=classes(
                _MODULE,
                "TLSParameterError",
                "InvalidConfigFile",
                "ContextNotFound",
                "MissingContextParameter",
            ),
            why="options are wrong",
        ),
        Rule(
            name="docker.invalid",
            verdict=t.ValidationError,
            types=classes(
                _MODULE, "NullResource", "InvalidArgument", "InvalidRepository", "ContextAlreadyExists"
            ),
            why="this request is wrong",
        ),
        Rule(
            name="docker.build",
            verdict=t.PermanentError,
            types=classes(_MODULE, "BuildError", "ImageLoadError"),
            why="the image cannot be built from its input",
        ),
        Rule(
            name="docker.stream",
            verdict=t.TransientError,
            types=classes(_MODULE, "StreamParseError"),
            why="the stream was cut",
        ),
    ),
)
