"""Transactions in directories of one machine."""
