"""Resources of the machine: checked before the work, watched during it, and shared between its parts."""
