"""Decides which broken cases share one cause, from the evidence that each of them carries."""
