"""Building blocks of the models in ``model.py``."""
