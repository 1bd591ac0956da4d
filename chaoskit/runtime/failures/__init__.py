"""Classification: decides what kind of failure an error is, and names the rule that decided."""
