"""Archives from strangers: unpacked within limits, checked to the last byte, published all at once.

The standard library's ``extractall`` is not used, with or without its filters: it has written outside of the
target (CVE-2025-4517), and it leaves half of what it unpacked when a member is damaged. Here a container is
only read; every file is written by our own code, below a directory descriptor, under a name that was checked.
"""
