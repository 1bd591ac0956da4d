"""A radio-imaging pipeline in three stages, on three databases: the fourth of the five systems."""
