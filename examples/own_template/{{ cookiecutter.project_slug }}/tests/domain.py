"""What the tests that every project has need to know of this one."""

# A model in which nothing is drawn at random while it learns.
WITHOUT_CHANCE = ["--model.dropout", "0"]
# A metric that is measured while it learns, and is 0 or 1 for each validation example.
METRIC = "within_tenth"
# What makes the default model quick enough for tests that train many times.
QUICK: list[str] = ["--model.width", "16"]
# Models, besides the quick one, that must resume exactly.
ALSO_RESUMED = ["network"]
