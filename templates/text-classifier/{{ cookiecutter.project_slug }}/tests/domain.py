"""What the shared tests need to know of this project."""

# A model without randomness in training.
WITHOUT_CHANCE = ["--model.name", "cnn", "--model.dropout", "0"]
# A training metric that is 0 or 1 for each validation example.
METRIC = "accuracy"
# What makes the default model quick enough for tests that train many times: short texts have few
# shapes to compile, and few words have few n-grams to fit.
QUICK: list[str] = ["--data.sequence_length", "16", "--data.vocabulary_size", "200"]
QUICK += ["--model.embedding_dim", "16"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["bilstm", "transformer"]
