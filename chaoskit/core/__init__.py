"""What every other layer stands on: errors, records, clock, context, checks. Standard library only."""
