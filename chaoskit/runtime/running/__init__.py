"""Keeping a program running: lifecycle, supervision, queues, jobs, batches."""
