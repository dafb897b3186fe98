"""Parts that the models of ``model.py`` are built from."""
