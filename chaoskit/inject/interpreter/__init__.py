"""Faults inside the interpreter: allocations that fail, interrupts and cancellations, by source line.

They need no call to the outside world. They strike inside the workload's own process; the proof is a word of
memory shared with the injector, which outlives the process.
"""
