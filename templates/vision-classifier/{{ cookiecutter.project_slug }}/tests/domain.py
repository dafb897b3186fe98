"""What the tests that every project has need to know of this one."""

# A model in which nothing is drawn at random while it learns.
WITHOUT_CHANCE = ["--model.name", "cnn"]
