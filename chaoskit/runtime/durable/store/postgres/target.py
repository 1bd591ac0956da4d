"""The place of a store on a server: libpq's URI, and the schema that holds the store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from chaoskit.core.errors import wrong

__all__ = ["SCHEMA", "ServerTarget"]

SCHEMA = "chaoskit"
"""The schema that is used if the target does not name one."""
# Names that need no quotes, so that they can be typed as psql shows them.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class ServerTarget:
    """``uri`` is for libpq, with the password; ``shown`` is for people, without it."""

    uri: str
    schema: str
    shown: str

    @classmethod
    def parse(cls, text: str) -> ServerTarget:
        """The parts of ``postgresql://…?schema=NAME``.

        Raises:
            UsageError: the text cannot be parsed, or the schema's name would need quotes.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            # Without the text itself, which may contain a password.
            shown = f"an address that cannot be parsed ({error})"
            raise wrong("the store", shown, "postgresql://USER@HOST:PORT/DATABASE") from None
        asked = parse_qsl(parts.query, keep_blank_values=True)
        schema = dict(asked).get("schema", SCHEMA)
        if not _NAME.fullmatch(schema) or schema.startswith("pg_"):
            raise wrong("schema", schema, "a name of lower-case letters, digits and underscores, not pg_…")
        rest = [(name, value) for name, value in asked if name != "schema"]
        uri = urlunsplit(parts._replace(query=urlencode(rest, quote_via=quote)))
        # The password may be before the @, or a parameter. Only what distinguishes one server from another is
        # shown: user, host, path and the host parameter.
        place = parts.netloc.rpartition("@")
        user = place[0].partition(":")[0]
        shown = f"postgresql://{user}{place[1]}{place[2]}{parts.path}?schema={schema}"
        host = dict(rest).get("host")
        return cls(uri, schema, shown if host is None else f"{shown}&host={host}")
