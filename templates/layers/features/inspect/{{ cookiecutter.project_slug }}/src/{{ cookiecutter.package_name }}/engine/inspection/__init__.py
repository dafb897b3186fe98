"""A look at a user's data before anything is trained on it."""
