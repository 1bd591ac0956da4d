"""Stores that Python programs rely on, and what a power loss leaves of what they have acknowledged."""
