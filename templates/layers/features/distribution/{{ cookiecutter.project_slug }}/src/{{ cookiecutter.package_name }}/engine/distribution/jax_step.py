"""The gradient step on JAX; see ``engine/train_step.py``, which has the one on TensorFlow."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from ..metrics import MetricSums, compute_loss, weighs_within_rows


@dataclass(frozen=True)
class JaxStep:
    """A step on a global batch, as a pure function; JAX divides the work among the devices.

    State is passed and returned: ``trainable`` and ``rest`` are the values of the network's
    trainable and other variables, ``slots`` those of the optimizer, ``sums`` the running sums.

    Attributes:
        replicas: devices, or groups of them, that each have as many rows of a batch.
        parts: that the rows of each replica are divided into, to work on one after the other.
    """

    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: keras.losses.Loss
    metrics: MetricSums
    replicas: int = 1
    parts: int = 1

    def train(self, trainable, rest, slots, sums, batch):
        """Return the four parts of the state after a batch of inputs, targets and weights.

        Args:
            trainable: values of the trainable variables.
            rest: values of the network's other variables.
            slots: values of the optimizer's variables.
            sums: running sums, see ``MetricSums``.
            batch: inputs, targets and weights (batch, …).
        """
        import jax  # an extra

        total = _sum_weights(batch)

        def compute_losses(trainable, rest, part):
            inputs, targets, weights = part
            outputs, rest, penalties = self.network.stateless_call(
                trainable, rest, inputs, training=True, return_losses=True
            )
            loss = compute_loss(self.loss, targets, outputs, weights, total, 1.0 / self.parts)
            sum_of_all = loss + sum(penalties) / self.parts if penalties else loss
            with keras.StatelessScope(zip(self.optimizer.variables, slots, strict=True)):
                scaled = self.optimizer.scale_loss(sum_of_all)
            return scaled, (rest, self.metrics.sum_part(loss, targets, outputs, weights))

        def compute_gradients(trainable, rest, part):
            compute = jax.value_and_grad(compute_losses, has_aux=True)
            (_, (rest, sums)), gradients = compute(trainable, rest, part)
            # Sums of gradients need more digits than weights in bfloat16 have.
            return [ops.cast(gradient, "float32") for gradient in gradients], rest, sums

        def add_part(state, part):
            rest, *old = state
            gradients, rest, part_sums = compute_gradients(trainable, rest, part)
            return (rest, *jax.tree.map(ops.add, old, [gradients, part_sums])), None

        if self.parts == 1:
            gradients, rest, batch_sums = compute_gradients(trainable, rest, batch)
        else:
            empty = [[ops.zeros(v.shape, "float32") for v in trainable], self._no_sums()]
            state, _ = jax.lax.scan(add_part, (rest, *empty), self._divide(batch))
            rest, gradients, batch_sums = state
        trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, rest, slots, self.metrics.add(sums, batch_sums)

    def evaluate(self, trainable, rest, sums, batch):
        """Return the running sums after a batch."""
        import jax

        total = _sum_weights(batch)

        def evaluate_part(part):
            inputs, targets, weights = part
            outputs, _ = self.network.stateless_call(trainable, rest, inputs, training=False)
            loss = compute_loss(self.loss, targets, outputs, weights, total, 1.0 / self.parts)
            return self.metrics.sum_part(loss, targets, outputs, weights)

        if self.parts == 1:
            return self.metrics.add(sums, evaluate_part(batch))

        def add_part(old, part):
            return jax.tree.map(ops.add, old, evaluate_part(part)), None

        batch_sums, _ = jax.lax.scan(add_part, self._no_sums(), self._divide(batch))
        return self.metrics.add(sums, batch_sums)

    def _no_sums(self) -> list[Any]:
        return [ops.convert_to_tensor(value) for value in self.metrics.zeros()]

    def _divide(self, batch: Any) -> Any:
        """Return the rows of a batch as (parts, rows, …); each part has rows of every replica."""
        import jax

        def divide(rows: Any) -> Any:
            shape = rows.shape[1:]
            own = ops.reshape(rows, (self.replicas, self.parts, -1, *shape))
            return ops.reshape(ops.swapaxes(own, 0, 1), (self.parts, -1, *shape))

        return jax.tree.map(divide, batch)


def _sum_weights(batch: Any) -> Any:
    """Return the sum of weights within rows over the batch; 1 where there are none."""
    weights = batch[-1]
    return ops.sum(weights) if weighs_within_rows(weights) else 1.0
