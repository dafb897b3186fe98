"""The gradient step on TensorFlow: what happens to one batch. Change how a network learns here.

A strategy compiles a step, loops over it and places its batches on devices; it says nothing about
learning. ``loss`` is the mean over the global batch, and sums of losses and metrics go to
``MetricSums``.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from .metrics import MetricSums
from .seeds import find_seed_states

Update = tuple[keras.Variable, tf.Tensor]  # a variable and its new value


@dataclass(frozen=True)
class TensorFlowStep:
    """A step on the part of a batch that one replica has, inside ``tf.distribute``.

    Attributes:
        replicas: parts of a global batch that sums are reduced over; 1: there is no strategy.
    """

    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: keras.losses.Loss
    metrics: MetricSums
    replicas: int = 1

    def train(self, batch: Any, *stop: tf.Tensor) -> list[tf.Tensor]:
        """Update the weights from a batch.

        Args:
            batch: inputs, targets and weights (rows,) of this replica's part.
            stop: () 1 where this process was asked to stop; summed over the processes.

        Returns:
            Sums over the global batch, then that of ``stop``.
        """
        inputs, targets, weights = batch
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            outputs, penalties, updates = self._call_network(inputs)
            # Under a strategy Keras's losses divide their mean by the number of replicas.
            loss = self.loss(targets, outputs, sample_weight=weights)
            penalties = [tf.cast(value, loss.dtype) for value in penalties]
            total = tf.add_n([loss, *(value / self.replicas for value in penalties)])
            scaled = self.optimizer.scale_loss(total)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        sums = self.metrics.sum_part(loss, targets, outputs, weights)
        # Moving averages: each replica has computed its own; all continue with the mean.
        averages = [variable for variable, _ in updates if "float" in variable.dtype]
        means = [value / self.replicas for v, value in updates if "float" in v.dtype]
        gradients, rest = self._all_reduce(gradients, [*means, *sums, *stop])
        for variable, mean in zip(averages, rest[: len(means)], strict=True):
            variable.assign(mean)
        for variable, value in updates:
            if "float" not in variable.dtype:  # seeds and counters: the same on all replicas
                variable.assign(value)
        self.optimizer.apply(gradients, variables)
        return rest[len(means) :]

    def evaluate(self, batch: Any, *stop: tf.Tensor) -> list[tf.Tensor]:
        """Return the sums of a batch, as ``train`` does, without changing anything."""
        inputs, targets, weights = batch
        outputs = self.network(inputs, training=False)
        loss = self.loss(targets, outputs, sample_weight=weights)
        sums = self.metrics.sum_part(loss, targets, outputs, weights)
        return self._all_reduce([], [*sums, *stop])[1]

    def _call_network(self, inputs: Any) -> tuple[Any, list[tf.Tensor], list[Update]]:
        """Return outputs and penalties of a call in training, and the variables that it updates.

        Updates are not assigned yet: they are reduced over the replicas first. Variables that no
        call changes, such as frozen weights, are not listed, so that they need not be reduced. The
        index of the replica is added to the seeds during the call: each replica draws its own
        masks, and between steps the seeds are the same on all of them.
        """
        seeds = find_seed_states(self.network)
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        shift = tf.cast(tf.stack([index, 0]), "int64")
        shifted = [(seed, seed.value + shift) for seed in seeds]
        # Regularizers read their weights from the scope, and get None where it does not have them.
        read_only = [(v, v.value) for v in self.network.trainable_variables if v.regularizer]
        with keras.StatelessScope([*shifted, *read_only], collect_losses=True) as scope:
            outputs = self.network(inputs, training=True)
            penalties = self.network.losses
        for seed in seeds:
            scope.add_update((seed, scope.get_current_value(seed) - shift))
        unchanged = {id(variable) for variable, _ in read_only}
        changeable = [v for v in self.network.variables if id(v) not in unchanged]
        new = [(variable, scope.get_current_value(variable)) for variable in changeable]
        return outputs, penalties, [(v, value) for v, value in new if value is not None]

    def _all_reduce(self, gradients: list[Any], sums: list[Any]) -> tuple[list[Any], list[Any]]:
        """Sum gradients and sums over the replicas, in one call; gradients may be None."""
        if self.replicas == 1:
            return gradients, sums
        present = [gradient for gradient in gradients if gradient is not None]
        # A value that all replicas share, such as a constant, is on no replica's device.
        sums = [tf.identity(value) for value in sums]
        context = tf.distribute.get_replica_context()
        reduced = context.all_reduce(tf.distribute.ReduceOp.SUM, [*present, *sums])
        rest = iter(reduced)
        gradients = [None if gradient is None else next(rest) for gradient in gradients]
        return gradients, list(rest)
