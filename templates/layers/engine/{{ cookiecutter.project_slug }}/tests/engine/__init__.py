"""Tests of the engine, which are the same in every project: they train a tiny task."""
