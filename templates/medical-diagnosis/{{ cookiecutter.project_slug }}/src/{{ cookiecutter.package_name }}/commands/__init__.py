"""Commands of this project, beside those of the engine."""
