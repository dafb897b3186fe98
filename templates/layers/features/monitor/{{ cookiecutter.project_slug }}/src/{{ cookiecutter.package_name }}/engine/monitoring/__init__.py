"""Watching a model that is in use: drift of what it is asked and answers, and training again."""
