"""Reads text and tables from outside; every error has its place: file, line, column."""
