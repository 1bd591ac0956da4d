"""A training loop that saves where it is, and goes on from there, with the savers that people use."""
