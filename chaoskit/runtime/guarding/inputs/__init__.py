"""Text and tables from outside, with every error at its place: file, line, column."""
