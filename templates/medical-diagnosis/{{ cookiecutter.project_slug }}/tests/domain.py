"""Settings of this project for the tests that every project has."""

# A model without randomness in training.
WITHOUT_CHANCE = ["--model.name", "logistic"]
# A metric of METRICS that is 0 or 1 for each validation example.
METRIC = "accuracy"
# A model that is quick enough for tests that train many times.
QUICK: list[str] = ["--model.name", "mlp", "--model.width", "8"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["logistic", "wide_deep", "ensemble"]
