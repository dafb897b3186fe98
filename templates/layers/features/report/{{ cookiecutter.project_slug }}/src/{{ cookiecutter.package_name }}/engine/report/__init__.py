"""Evidence for a run: the report, the model card, and the gate of the registry."""
