"""What the shared tests need to know of this project."""

# A model without randomness in training.
WITHOUT_CHANCE = ["--model.name", "sasrec", "--model.num_blocks", "1", "--model.dropout", "0"]
# A training metric that is 0 or 1 for each validation example.
METRIC = "above_popularity"
# A small model, for tests that train many times. Short histories have few shapes to compile; the
# 153 of 40 users make some steps an epoch, with an incomplete batch at its end.
QUICK: list[str] = ["--model.name", "mf", "--model.embedding_dim", "16", "--model.num_blocks", "1"]
QUICK += ["--data.max_history", "8", "--data.limit", "40"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["sasrec_transitions", "two_tower"]
