"""Faults inside of the interpreter: allocations that fail, interrupts and cancellations, by source line.

They need no call to the outside. What strikes is in the workload's own process; the proof is a word of memory
that it shares with the injector, which outlives the process.
"""
