"""What a program can see of itself: events, metrics, logs, traces, error details."""
