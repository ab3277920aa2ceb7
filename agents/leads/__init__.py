"""Qualifying records: filters, scores, reasons."""
