"""Transactions in object stores, decided by conditional writes."""
