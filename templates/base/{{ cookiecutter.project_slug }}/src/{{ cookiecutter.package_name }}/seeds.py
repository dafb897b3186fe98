"""Repeatable runs: one seed for everything, and operations that give the same result each time."""

from .distribution import has_gpu
from .sections import TrainSection


def set_seeds(train: TrainSection) -> bool:
    """Seed Python, NumPy and Keras; returns whether operations are deterministic as well."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(train.seed)
    # On GPUs deterministic kernels are much slower, so there it must be asked for.
    deterministic = train.deterministic if train.deterministic is not None else not has_gpu()
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return deterministic
