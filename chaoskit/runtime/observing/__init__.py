"""Observing a program from within: events, metrics, logs, traces, error details."""
