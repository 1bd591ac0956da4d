"""The store under checkpoints, dead letters, the outbox and shared breakers."""
