"""The in-process backend: faults at calls of Python code, in the process of that code.

It needs nothing from the system, so it works where the kernel backend does not, and where a fork would lose
something essential, such as a file system in memory. In return it does not see calls of C libraries or of
other processes.
"""
