"""Schema and tables of patients, splits, and checks for identifiers and leaks."""
