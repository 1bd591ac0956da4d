"""The kernel's interface: numbers, structures, filters, and the table of system calls."""
