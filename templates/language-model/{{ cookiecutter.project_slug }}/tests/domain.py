"""What the shared tests need to know of this project."""

# A model without randomness in training.
WITHOUT_CHANCE = ["--model.dropout", "0"]
# A training metric that is between 0 and 1 for each predicted token.
METRIC = "accuracy"
# What it is between 0 and 1 for, as the summary counts them.
UNITS = "tokens"
# What makes the default model quick enough for tests that train many times.
QUICK: list[str] = ["--model.context", "32", "--model.layers", "1", "--model.heads", "2"]
QUICK += ["--model.embedding_dim", "16", "--data.vocabulary_size", "300"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["gpt2"]
# A number of texts below that of the default source.
FEWER = "60"
