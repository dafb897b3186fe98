"""Starter projects for deep learning that work on their first run."""

__version__ = "0.1.0"
