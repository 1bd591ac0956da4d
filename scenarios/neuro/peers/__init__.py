"""The runner's retries and dead letters without the runtime, to compare."""
