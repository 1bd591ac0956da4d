"""Circuit breaker: a pure state machine, its windows, thin shells, and a link that shares state."""
