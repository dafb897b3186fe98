"""What the tests that every project has need to know of this one."""

# A model in which nothing is drawn at random while it learns.
WITHOUT_CHANCE = ["--model.name", "logistic"]
# A metric that is measured while it learns, and is 0 or 1 for each validation example.
METRIC = "accuracy"
# What makes the default model quick enough for tests that train many times.
QUICK: list[str] = ["--model.name", "mlp", "--model.width", "8"]
# Models, besides the quick one, that must go on exactly where they stopped.
ALSO_RESUMED = ["logistic", "wide_deep", "ensemble"]
