"""Dealing with failures: strategies by kind, run folders with flags, and runs on other machines."""
