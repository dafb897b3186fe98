"""Seeds of the random generators that layers such as dropout have."""

from typing import Any

import keras
import numpy as np

REPLICAS = 65_536  # seeds that each random generator of a network reserves, one a replica


def find_seed_states(network: keras.Model) -> list[Any]:
    """Return the states of a network's random generators, each once.

    A state is (2,): a seed, and how often it was drawn from.
    """
    # Keras counts them among ``variables`` and not among ``weights``.
    weights = {id(weight) for weight in network.weights}
    states = {id(state): state for state in network.variables if id(state) not in weights}
    return list(states.values())


def spread_seeds(network: keras.Model, seed: int) -> None:
    """Give each random generator of a network a seed that depends on ``seed`` and its place alone.

    Layers that are made with the same seed, or with none as those of presets are, would drop the
    same units, or others each time that the network is built.

    Args:
        network: with layers such as dropout.
        seed: of the run.
    """
    first = int(np.random.SeedSequence(seed).generate_state(1)[0])
    for place, state in enumerate(find_seed_states(network)):
        state.assign(np.array([(first + place * REPLICAS) % 2**31, 0], "int64"))
