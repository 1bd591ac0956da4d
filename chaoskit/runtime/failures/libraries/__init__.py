"""One table of rules for each client library. None is loaded before an error of its library is seen."""

from __future__ import annotations
