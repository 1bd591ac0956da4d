"""Classification: what kind of failure is this, and which rule says so."""
