"""What keeps a program going: lifecycle, supervision, queues, jobs, batches."""
