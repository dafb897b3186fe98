"""Starter projects for deep learning that work on their first run."""

__version__ = "0.2.0"
