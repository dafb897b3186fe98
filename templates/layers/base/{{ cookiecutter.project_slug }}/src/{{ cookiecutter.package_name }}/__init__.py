"""A deep-learning project: data, model, training, evaluation and prediction."""
