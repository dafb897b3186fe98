"""Clinical metrics, attributions and explanations."""
