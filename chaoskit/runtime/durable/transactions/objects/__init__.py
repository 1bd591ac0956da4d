"""Transactions in object stores, which decide by conditional writes."""
