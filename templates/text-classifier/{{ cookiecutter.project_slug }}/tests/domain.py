"""What the shared tests need to know of this project."""

# A model without randomness in training.
WITHOUT_CHANCE = ["--model.name", "cnn", "--model.dropout", "0"]
# A training metric that is 0 or 1 for each validation example.
METRIC = "accuracy"
# What makes the default model quick enough for tests that train many times: short texts have few
# shapes to compile.
QUICK: list[str] = ["--data.sequence_length", "16", "--model.embedding_dim", "16"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["bilstm", "transformer"]
