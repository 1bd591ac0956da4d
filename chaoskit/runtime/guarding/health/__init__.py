"""Health: what a pipeline depends on, asked at once, bounded in time, for people and for probes."""
