"""Retry: one policy for functions, coroutine functions, generators and loops."""
