"""Pruning: the smallest weights of each kernel become zero, and training goes on without them.

Han, Pool, Tran & Dally, Learning both Weights and Connections for Efficient Neural Networks,
NeurIPS 2015. tensorflow-model-optimization does not work with Keras 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from ..errors import UsageProblem
from ..interfaces import Phase, Task
from ..trained_models import find_artifact
from .compatibility import check_inputs

MIN_WEIGHTS = 256  # of a kernel: smaller ones are no burden


class KeepZeros(keras.constraints.Constraint):
    """Keeps the weights at zero that are zero now; optimizers apply it in each step.

    Args:
        mask: 1 for weights that are trained, 0 for the others.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask

    def __call__(self, w: Any) -> Any:
        return w * ops.cast(self.mask, w.dtype)


def add_pruning(task: Task, config: Any) -> Task:
    """Return a task that prunes its network as each phase of training begins.

    Args:
        task: of the project.
        config: of the run, whose ``train.init_from`` names the trained model.

    Raises:
        UsageProblem: there are no trained weights to start from.
    """
    if not config.train.init_from:
        raise UsageProblem(
            "compress.sparsity: set train.init_from too: pruning starts from a model."
        )
    sparsity = config.compress.sparsity

    def build_model(config: Any, preprocessing: Any) -> keras.Model:
        network = task.build_model(config, preprocessing)
        earlier, _ = find_artifact(config.train.init_from, task, config, "train.init_from")
        check_inputs("train.init_from", earlier, network)
        if not find_kernels(network, task):
            raise UsageProblem(
                f"compress.sparsity: model.name {config.model.name!r} has no trained kernel of "
                f"{MIN_WEIGHTS} weights that is not computed from the data; nothing would become "
                "smaller."
            )
        return network

    def phases(config: Any) -> list[Phase]:
        return [_prune_first(phase, task, sparsity) for phase in task.phases(config)]

    return replace(task, build_model=build_model, phases=phases)


def prune(network: keras.Model, task: Task, sparsity: float) -> None:
    """Set the smallest weights of each kernel to zero, and keep them there.

    Pruning a pruned network again changes nothing, so that a run resumes exactly.

    Args:
        network: changed in place.
        task: knows which weights are computed from the data.
        sparsity: share of the weights.
    """
    for kernel in find_kernels(network, task):
        weights = ops.convert_to_numpy(kernel.value)
        mask = np.ones(weights.size, "float32")
        # Stable, so that among equal weights the same ones are selected each time.
        order = np.argsort(np.abs(weights), axis=None, kind="stable")
        mask[order[: round(sparsity * weights.size)]] = 0
        kernel.assign(weights * mask.reshape(weights.shape))
        kernel.constraint = KeepZeros(mask.reshape(weights.shape))


def find_kernels(network: keras.Model, task: Task) -> list[keras.Variable]:
    """Return the trained weights that are pruned: matrices and filters of some size."""
    return [
        weight
        for weight in network.trainable_weights
        if len(weight.shape) >= 2
        and np.prod(weight.shape) >= MIN_WEIGHTS
        and not any(re.search(pattern, weight.path) for pattern in task.weights_from_data)
    ]


def _prune_first(phase: Phase, task: Task, sparsity: float) -> Phase:
    own: Callable[[keras.Model], None] = phase.prepare

    def prepare(network: keras.Model) -> None:
        own(network)
        prune(network, task, sparsity)

    return replace(phase, prepare=prepare)
