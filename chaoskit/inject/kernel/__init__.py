"""The kernel backend: seccomp user notification driven from Python, without root or compiled code."""

from chaoskit.inject.kernel.backend import KernelBackend

__all__ = ["KernelBackend"]
