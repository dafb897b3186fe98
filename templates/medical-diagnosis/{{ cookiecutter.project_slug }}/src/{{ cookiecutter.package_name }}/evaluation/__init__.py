"""Clinical metrics, attributions, explanations and the model card."""
