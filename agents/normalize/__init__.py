"""Dirty values of records, made comparable."""
