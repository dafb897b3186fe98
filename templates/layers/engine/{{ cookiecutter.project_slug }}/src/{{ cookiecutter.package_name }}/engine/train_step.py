"""The gradient step on TensorFlow: what happens to one batch. Change how a network learns here.

A strategy compiles a step, loops over it and places its batches on devices; it says nothing about
learning. ``loss`` is the mean over the global batch, and sums of losses and metrics go to
``MetricSums``.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from .metrics import MetricSums, compute_loss, weighs_within_rows
from .seeds import find_seed_states

State = list[tf.Tensor]  # values of the variables that a call of the network may change


@dataclass(frozen=True)
class TensorFlowStep:
    """A step on the part of a batch that one replica has, inside ``tf.distribute``.

    Attributes:
        replicas: parts of a global batch that sums are reduced over; 1: there is no strategy.
        parts: that a replica divides its rows into, to work on one after the other.
    """

    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: keras.losses.Loss
    metrics: MetricSums
    replicas: int = 1
    parts: int = 1

    def train(self, batch: Any, *stop: tf.Tensor) -> list[tf.Tensor]:
        """Update the weights from a batch.

        Args:
            batch: inputs, targets and weights (rows, …) of this replica's part.
            stop: () 1 where this process was asked to stop; summed over the processes.

        Returns:
            Sums over the global batch, then that of ``stop``.
        """
        variables = self.network.trainable_variables
        gradients, sums, updates = self._compute_gradients(batch)
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
        total = self._sum_weights(batch)

        def evaluate_part(part: Any) -> list[tf.Tensor]:
            inputs, targets, weights = part
            outputs = self.network(inputs, training=False)
            loss = compute_loss(self.loss, targets, outputs, weights, total, 1.0 / self.parts)
            return self.metrics.sum_part(loss, targets, outputs, weights)

        first, others = self._divide(batch)
        sums = evaluate_part(first)
        if others is not None:

            def add_part(number: tf.Tensor, *sums: tf.Tensor) -> list[tf.Tensor]:
                more = evaluate_part(_take_part(others, number))
                return [number + 1, *map(tf.add, sums, more)]

            sums = self._loop(add_part, sums)
        return self._all_reduce([], [*sums, *stop])[1]

    def _compute_gradients(
        self, batch: Any
    ) -> tuple[list[Any], list[tf.Tensor], list[tuple[keras.Variable, tf.Tensor]]]:
        """Return gradients, sums, and the variables that the calls of the network update.

        Of several parts the first one shows which gradients and updates there are; the others
        follow in a loop, each with the moving averages and seeds that the one before it has left.
        """
        total = self._sum_weights(batch)
        first, others = self._divide(batch)
        gradients, sums, updates = self._work_on(first, total, [])
        if others is None:
            return gradients, sums, updates
        changed = [variable for variable, _ in updates]
        present = [gradient is not None for gradient in gradients]
        known = [gradient for gradient in gradients if gradient is not None]

        def add_part(number: tf.Tensor, *state: tf.Tensor) -> list[tf.Tensor]:
            old = list(state[: len(known) + len(sums)])
            values = state[len(old) :]
            part = _take_part(others, number)
            found, more, updates = self._work_on(part, total, [*zip(changed, values, strict=True)])
            new = [gradient for gradient in found if gradient is not None] + more
            return [number + 1, *map(tf.add, old, new), *(value for _, value in updates)]

        values = [value for _, value in updates]
        state = iter(self._loop(add_part, [*known, *sums, *values]))
        gradients = [next(state) if is_present else None for is_present in present]
        sums = [next(state) for _ in sums]
        return gradients, sums, list(zip(changed, state, strict=True))

    def _work_on(
        self, part: Any, total: tf.Tensor, values: list[tuple[keras.Variable, tf.Tensor]]
    ) -> tuple[list[Any], list[tf.Tensor], list[tuple[keras.Variable, tf.Tensor]]]:
        """Return gradients, sums and updates of a part of the rows.

        Args:
            total: see ``compute_loss``.
            values: of the variables that the part before has updated.
        """
        inputs, targets, weights = part
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            outputs, penalties, updates = self._call_network(inputs, values)
            # Under a strategy Keras's losses divide their mean by the number of replicas.
            loss = compute_loss(self.loss, targets, outputs, weights, total, 1.0 / self.parts)
            penalties = [tf.cast(value, loss.dtype) for value in penalties]
            share = self.replicas * self.parts
            scaled = self.optimizer.scale_loss(
                tf.add_n([loss, *(value / share for value in penalties)])
            )
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        # Those of embeddings are sparse, with a row for each token: of such rows Keras computes
        # another norm than that of their sum, which is what parts of a batch add up to.
        is_dense = self.parts > 1 or weighs_within_rows(weights)
        gradients = [
            _to_dense(gradient)
            if gradient is not None and (is_dense or gradient.dtype != tf.float32)
            else gradient
            for gradient in gradients
        ]
        return gradients, self.metrics.sum_part(loss, targets, outputs, weights), updates

    def _call_network(
        self, inputs: Any, values: list[tuple[keras.Variable, tf.Tensor]]
    ) -> tuple[Any, list[tf.Tensor], list[tuple[keras.Variable, tf.Tensor]]]:
        """Return outputs and penalties of a call in training, and the variables that it updates.

        Updates are not assigned yet: they are reduced over the replicas first. Variables that no
        call changes, such as frozen weights, are not listed, so that they need not be reduced. The
        index of the replica is added to the seeds during the call: each replica draws its own
        masks, and between steps the seeds are the same on all of them.
        """
        seeds = find_seed_states(self.network)
        current = {id(variable): value for variable, value in values}
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        shift = tf.cast(tf.stack([index, 0]), "int64")
        shifted = [(seed, current.get(id(seed), seed.value) + shift) for seed in seeds]
        own = {id(seed) for seed in seeds}
        averages = [(v, value) for v, value in values if id(v) not in own]
        # Regularizers read their weights from the scope, and get None where it does not have them.
        read_only = [(v, v.value) for v in self.network.trainable_variables if v.regularizer]
        scope = keras.StatelessScope([*shifted, *averages, *read_only], collect_losses=True)
        with scope:
            outputs = self.network(inputs, training=True)
            penalties = self.network.losses
        for seed in seeds:
            scope.add_update((seed, scope.get_current_value(seed) - shift))
        unchanged = {id(variable) for variable, _ in read_only}
        changeable = [v for v in self.network.variables if id(v) not in unchanged]
        new = [(variable, scope.get_current_value(variable)) for variable in changeable]
        return outputs, penalties, [(v, value) for v, value in new if value is not None]

    def _sum_weights(self, batch: Any) -> tf.Tensor:
        """Return the sum of weights within rows over the global batch; 1 where there are none."""
        if not weighs_within_rows(batch[-1]):
            return tf.constant(1.0)
        return self._all_reduce([], [tf.reduce_sum(batch[-1])])[1][0]

    def _divide(self, batch: Any) -> tuple[Any, Any]:
        """Return the first part of a batch, and the others (parts - 1, rows, …), or None."""
        if self.parts == 1:
            return batch, None

        def divide(rows: tf.Tensor) -> tf.Tensor:
            return tf.reshape(rows, tf.concat([[self.parts, -1], tf.shape(rows)[1:]], 0))

        divided = tf.nest.map_structure(divide, batch)
        return _take_part(divided, 0), tf.nest.map_structure(lambda rows: rows[1:], divided)

    def _loop(self, body: Any, state: State) -> State:
        """Call the body for all parts but the first, never two at once."""
        number = tf.constant(0)
        first = [tf.convert_to_tensor(value) for value in state]
        return tf.while_loop(
            lambda number, *_: number < self.parts - 1,
            lambda number, *state: body(number, *state),
            [number, *first],
            parallel_iterations=1,
        )[1:]

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


def _to_dense(gradient: Any) -> tf.Tensor:
    """Return a gradient as one tensor, float32 as sums and norms need it."""
    return tf.cast(tf.convert_to_tensor(gradient), tf.float32)


def _take_part(parts: Any, number: Any) -> Any:
    return tf.nest.map_structure(lambda rows: rows[number], parts)
