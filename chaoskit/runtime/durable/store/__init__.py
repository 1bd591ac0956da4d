"""The store on which checkpoints, dead letters, the outbox and shared breakers stand."""
