"""What is raised in a workload that counts as ended although its process continues."""

from __future__ import annotations


class ProcessKilled(BaseException):
    """Raised by each call that a workload makes after it was killed, in ``finally`` and ``__exit__`` too.

    No workload should catch it. If one does, its next call raises it again.
    """


class WorkloadStopped(BaseException):
    """Raised in a workload that has hung, wherever it is."""
