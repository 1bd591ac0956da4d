"""Which broken cases have one cause, by the evidence that each of them carries."""
