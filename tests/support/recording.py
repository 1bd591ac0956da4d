"""A process of its own that records many operations and tells what that took."""

from __future__ import annotations

PROGRAM = """
import json, os, resource, sys, time
from chaoskit.inject.base import Plan
from chaoskit.inject.kernel import KernelBackend

root, kind, count = os.path.realpath(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def files():
    for number in range(count):
        with open(f"{root}/{number}", "wb") as file:
            file.write(b"x" * 100)

def operations():
    fd = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY, 0o600)
    for number in range(count):
        os.pwrite(fd, b"x" * 100, number * 100)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, wall, cpu = peak(), time.monotonic(), time.process_time()
ran = KernelBackend().run(globals()[kind], Plan(root, record=True, timeout=600))
assert ran.ok, (ran.error, ran.traceback, ran.timed_out)
figures = {"operations": len(ran.trace), "megabytes": peak() - before}
print(json.dumps({**figures, "seconds": time.monotonic() - wall, "processor": time.process_time() - cpu}))
"""
