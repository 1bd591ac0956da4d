"""Health checks of everything that a pipeline depends on, with a time limit, for people and for probes."""
