"""Strategies around one call: time-outs, bulkheads, rate limits, fallbacks, pipelines."""
