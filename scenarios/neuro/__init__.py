"""A neuroimaging pipeline runner: containers as tasks of a queue, with retries and dead letters."""
