"""Circuit breaker: a pure state machine, its windows, thin shells, and a link for sharing state."""
