"""The in-process backend: faults at calls that Python code makes, in the process that makes them.

It needs nothing of the system, so it works where the kernel's backend does not, and where a fork would lose
what counts, such as a file system in memory. In return it sees no calls of C libraries or of other processes.
"""
