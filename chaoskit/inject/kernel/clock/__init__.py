"""Virtual time for all processes of one run: clocks that can be set, and waits that cost nothing."""
