"""A long-running job processor: takes jobs from a drop folder, fits models for hours, survives the night."""
