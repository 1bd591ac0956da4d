"""Queues, products, registries and files that must agree: what does not, and putting it right."""
