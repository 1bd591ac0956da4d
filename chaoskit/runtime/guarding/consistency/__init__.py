"""Checks that queues, products, registries and files agree, and repairs what does not."""
