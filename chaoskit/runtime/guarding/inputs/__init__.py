"""Reads text and tables from outside. Every error says where it is: file, line, column."""
