"""Shared by tests and scenarios."""
