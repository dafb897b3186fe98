"""Repeatable runs: one seed for everything, and operations that give the same result each time."""

from typing import Any

from .distribution import has_gpu, make_deterministic
from .sections import TrainSection

REPLICAS = 65_536  # seeds that each random generator of a model has for itself, one a replica


def set_seeds(train: TrainSection) -> None:
    """Seed Python, NumPy and Keras, and make operations deterministic; before ``connect``."""
    import keras

    keras.utils.set_random_seed(train.seed)
    make_deterministic(train.deterministic)


def is_deterministic(train: TrainSection) -> bool:
    """Whether operations give the same result each time; to be asked after ``connect``."""
    return train.deterministic if train.deterministic is not None else not has_gpu()


def seed_states(core: Any) -> list[Any]:
    """The states of a model's random generators, such as its dropout layers have, each once.

    A state is (2,): a seed, and how often it was drawn from.
    """
    # Keras counts them among ``variables`` and not among ``weights``.
    weights = {id(weight) for weight in core.weights}
    states = {id(state): state for state in core.variables if id(state) not in weights}
    return list(states.values())


def spread_seeds(core: Any, seed: int) -> None:
    """Give each random generator of a model a seed that depends on ``seed`` and its place alone.

    Layers that are made with the same seed, or with none as those of presets are, would drop the
    same places out, or others each time that the model is built.
    """
    import numpy as np

    first = int(np.random.SeedSequence(seed).generate_state(1)[0])
    for place, state in enumerate(seed_states(core)):
        state.assign(np.array([(first + place * REPLICAS) % 2**31, 0], "int64"))
