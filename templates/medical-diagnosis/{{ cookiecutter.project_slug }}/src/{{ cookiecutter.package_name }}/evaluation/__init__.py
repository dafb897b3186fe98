"""Clinical metrics, attributions and the model card."""
