"""Commands of this project besides those of the engine."""
