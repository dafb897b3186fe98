"""Inspection of a clinical table, and the schema proposed for it."""
