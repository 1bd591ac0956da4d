"""Quality gates: what is not good enough goes no further, and is kept where it can be looked at."""
