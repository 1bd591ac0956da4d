"""What the machine has left: looked at before the work, watched during it, and shared between its parts."""
