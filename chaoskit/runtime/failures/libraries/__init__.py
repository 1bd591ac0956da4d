"""A table of rules for each client library. It is loaded when an error of that library is first seen."""

from __future__ import annotations
