"""Retry, breaker and deadline below the sessions of HTTP clients: one module for each client."""

from __future__ import annotations
