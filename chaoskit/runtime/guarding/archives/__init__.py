"""Untrusted archives: unpacked within limits, checked to the last byte, published all at once.

The standard library's ``extractall`` is not used, with or without its filters: it has written outside its
target (CVE-2025-4517), and it leaves half of an archive behind when a member is damaged. Here the standard
library only reads the container. Our own code writes every file, in a directory that only it writes to, under
a name that was checked.
"""
