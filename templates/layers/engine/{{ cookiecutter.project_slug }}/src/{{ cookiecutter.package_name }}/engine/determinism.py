"""Repeatable runs: one seed for everything, and operations that give the same result each time."""

import keras
import tensorflow as tf

from .config_fields import TrainFields
from .strategy import add_xla_flag, has_gpu


def set_seeds(train: TrainFields) -> None:
    """Seed Python, NumPy and Keras, and make operations deterministic; before ``connect``.

    Deterministic kernels are much slower on GPUs: there ``train.deterministic`` must request them.
    """
    keras.utils.set_random_seed(train.seed)
    if keras.backend.backend() == "jax":
        if train.deterministic:
            add_xla_flag("--xla_gpu_deterministic_ops=true")
        # TensorFlow, which feeds JAX, works on the CPU.
        deterministic = train.deterministic is not False
    else:
        deterministic = is_deterministic(train)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def is_deterministic(train: TrainFields) -> bool:
    """Return whether operations give the same result each time; on JAX only after ``connect``."""
    return train.deterministic if train.deterministic is not None else not has_gpu()
