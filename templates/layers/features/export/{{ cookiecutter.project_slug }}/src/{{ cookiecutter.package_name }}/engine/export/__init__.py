"""Trained models in the formats of other programs, and smaller ones trained from them."""
