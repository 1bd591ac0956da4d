"""Stores that Python programs rely on, and what a power cut leaves of what they have acknowledged."""
