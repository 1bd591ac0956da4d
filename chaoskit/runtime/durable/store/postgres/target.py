"""Where a store on a server is: libpq's URI, and the schema that holds the store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from chaoskit.core.errors import wrong

__all__ = ["SCHEMA", "ServerTarget"]

SCHEMA = "chaoskit"
"""The schema of a store that names none."""
# Written without quotes everywhere, so that what psql shows can be typed.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class ServerTarget:
    """``uri`` is for libpq, with its password; ``shown`` is for people, without."""

    uri: str
    schema: str
    shown: str

    @classmethod
    def parse(cls, text: str) -> ServerTarget:
        """The parts of ``postgresql://…?schema=NAME``.

        Raises:
            UsageError: it cannot be parsed, or the name of the schema is none that needs no quotes.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            # Not the text itself, in which a password may stand.
            shown = f"an address that cannot be parsed ({error})"
            raise wrong("the store", shown, "postgresql://USER@HOST:PORT/DATABASE") from None
        asked = parse_qsl(parts.query, keep_blank_values=True)
        schema = dict(asked).get("schema", SCHEMA)
        if not _NAME.fullmatch(schema) or schema.startswith("pg_"):
            raise wrong("schema", schema, "a name of lower-case letters, digits and underscores, not pg_…")
        rest = [(name, value) for name, value in asked if name != "schema"]
        uri = urlunsplit(parts._replace(query=urlencode(rest, quote_via=quote)))
        # The password may stand before the @, or be a parameter; whatever else there is may be needed to
        # tell one server from another.
        place = parts.netloc.rpartition("@")
        user = place[0].partition(":")[0]
        shown = f"postgresql://{user}{place[1]}{place[2]}{parts.path}?schema={schema}"
        host = dict(rest).get("host")
        return cls(uri, schema, shown if host is None else f"{shown}&host={host}")
