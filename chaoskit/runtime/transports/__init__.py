"""Retry, breaker and deadline below the sessions of HTTP clients: a module for each client."""

from __future__ import annotations
