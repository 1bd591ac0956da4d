"""Quality gates: what falls short goes no further, and is kept where a person can look at it."""
