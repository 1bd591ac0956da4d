"""The ground of the harness: errors and records of operations, schedules and results. Standard library."""
