"""What the shared tests need to know of this project."""

# A model without randomness in training.
WITHOUT_CHANCE = ["--model.name", "sasrec", "--model.dropout", "0"]
# A training metric that is 0 or 1 for each validation example.
METRIC = "above_popularity"
# A small model, for tests that train many times.
QUICK: list[str] = ["--model.name", "mf", "--model.embedding_dim", "16"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["sasrec_transitions", "two_tower"]
