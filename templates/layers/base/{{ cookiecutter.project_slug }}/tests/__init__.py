"""Tests of this project: python -m pytest."""
