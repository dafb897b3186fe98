"""The gradient step on JAX; see ``engine/train_step.py``, which has the one on TensorFlow."""

from dataclasses import dataclass

import keras

from ..metrics import MetricSums


@dataclass(frozen=True)
class JaxStep:
    """A step on a global batch, as a pure function; JAX divides the work among the devices.

    State is passed and returned: ``trainable`` and ``rest`` are the values of the network's
    trainable and other variables, ``slots`` those of the optimizer, ``sums`` the running sums.
    """

    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: keras.losses.Loss
    metrics: MetricSums

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

        def compute_loss(trainable, rest):
            inputs, targets, weights = batch
            outputs, rest, penalties = self.network.stateless_call(
                trainable, rest, inputs, training=True, return_losses=True
            )
            loss = self.loss(targets, outputs, sample_weight=weights)
            total = loss + sum(penalties) if penalties else loss
            with keras.StatelessScope(zip(self.optimizer.variables, slots, strict=True)):
                scaled = self.optimizer.scale_loss(total)
            return scaled, (rest, self.metrics.sum_part(loss, targets, outputs, weights))

        compute_gradients = jax.value_and_grad(compute_loss, has_aux=True)
        (_, (rest, batch_sums)), gradients = compute_gradients(trainable, rest)
        trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, rest, slots, self.metrics.add(sums, batch_sums)

    def evaluate(self, trainable, rest, sums, batch):
        """Return the running sums after a batch."""
        inputs, targets, weights = batch
        outputs, _ = self.network.stateless_call(trainable, rest, inputs, training=False)
        loss = self.loss(targets, outputs, sample_weight=weights)
        return self.metrics.add(sums, self.metrics.sum_part(loss, targets, outputs, weights))
