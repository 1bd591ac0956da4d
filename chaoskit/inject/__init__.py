"""Backends: they see the operations of a workload and make faults happen."""
