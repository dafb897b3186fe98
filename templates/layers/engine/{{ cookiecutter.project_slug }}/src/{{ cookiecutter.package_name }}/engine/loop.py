"""Building the network on the run's devices, and fitting it phase by phase."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import cache
from .artifact import copy_weights, hash_arrays
from .batches import ShuffledSampler, evaluation_batches, training_batches
from .callbacks import Callbacks
from .checkpoints import Checkpoint, Checkpoints, describe_last
from .config_fields import BaseConfig
from .energy import EnergyMeter
from .errors import Diverged, Interrupted, UsageProblem
from .interfaces import DatasetSplits, Phase, Preprocessing, Task, Uniform
from .lookup import find
from .metrics import MetricSums
from .optimizers import make_optimizer
from .progress import Progress
from .recompute import recompute_layers
from .runs import Run
from .seeds import spread_seeds
from .signals import StopRequest
from .strategy import Strategy
from .trained_models import find_artifact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """Global steps, training examples seen, seconds and joules of ``fit``.

    Attributes:
        joules: of this machine's processors; None where they are not counted, and after a resume.
    """

    steps: int
    examples: int
    seconds: float
    joules: float | None = None


@dataclass
class TrainState:
    """Where training stands, arrays aside.

    Attributes:
        step: global steps so far.
        epoch: finished epochs; those of all phases are counted through.
        phase: index of the current phase.
        phase_start: the step at which it began.
        best_loss: the lowest validation loss of all phases.
        best_step: the step of the weights that had it.
        epochs_without_improvement: epochs of this phase since its last new best.
        seconds: of fitting.
        metrics_bytes: size of ``metrics.jsonl``.
        callbacks: states of the callbacks that have some.
        stopped: whether a callback has stopped training.
        frozen_sha256: hash of ``Task.frozen_weights``, which checkpoints leave out; '' for none.
    """

    step: int = 0
    epoch: int = 0
    phase: int = 0
    phase_start: int = 0
    best_loss: float | None = None
    best_step: int | None = None
    epochs_without_improvement: int = 0
    seconds: float = 0.0
    metrics_bytes: int = 0
    callbacks: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False
    frozen_sha256: str = ""


def build(
    task: Task, config: BaseConfig, preprocessing: Preprocessing, strategy: Strategy
) -> keras.Model:
    """Build the network on the run's devices, from scratch or from earlier weights.

    Args:
        task: builds it.
        config: of the run.
        preprocessing: fitted on the training split.
        strategy: the devices.

    Raises:
        UsageProblem: ``train.init_from`` names a model that shares no layer with the network.
    """
    with strategy.scope():
        network = task.build_model(config, preprocessing)
        if config.train.init_from:
            earlier, _ = find_artifact(config.train.init_from, task, config, "train.init_from")
            if copy_weights(network, preprocessing, earlier) == 0:
                raise UsageProblem(
                    f"train.init_from: {config.train.init_from!r} is of another model or input: "
                    f"it shares no layer with this {config.model.name!r}."
                )
        spread_seeds(network, config.train.seed)
    return network


def fit(
    task: Task,
    network: keras.Model,
    data: DatasetSplits,
    preprocessing: Preprocessing,
    config: BaseConfig,
    strategy: Strategy,
    run: Run,
    checkpoint: Checkpoint | None = None,
) -> FitResult:
    """Train the network in place; it ends with the weights of the best validation loss.

    Args:
        run: where the chief writes metrics and checkpoints.
        checkpoint: where to resume.

    Raises:
        Diverged: loss or weights became NaN or infinite.
        Interrupted: SIGTERM or Ctrl-C; a checkpoint is written.
    """
    with StopRequest() as stop, recompute_layers(network, config.train.recompute):
        loop = TrainLoop(task, network, data, preprocessing, config, strategy, run, stop)
        if checkpoint:
            loop.restore(checkpoint)
        return loop.run_phases()


class TrainLoop:
    """The loop over phases, epochs and steps, and all that must survive an interruption."""

    def __init__(
        self,
        task: Task,
        network: keras.Model,
        data: DatasetSplits,
        preprocessing: Preprocessing,
        config: BaseConfig,
        strategy: Strategy,
        run: Run,
        stop: StopRequest,
    ) -> None:
        self.task, self.network, self.preprocessing, self.config = (
            task,
            network,
            preprocessing,
            config,
        )
        self.strategy, self.run, self.stop = strategy, run, stop
        writes = cache.writes_cache(strategy)
        self.splits = {
            name: cache.cache_split(
                split,
                preprocessing,
                config.data.cache,
                f"{data.digest}/{name}",
                writes,
                lambda: stop.check("while examples are prepared"),
            )
            for name, split in (("train", data.train), ("validation", data.validation))
        }
        epoch = self.splits["train"] = self.splits["train"].epoch()
        self.sample_weights = task.sample_weights(epoch.targets, preprocessing, config)
        train, batch_size = config.train, config.data.batch_size
        self.shard = strategy.divide(train.accumulate_steps)
        self.sampler = ShuffledSampler(
            len(epoch), batch_size, train.seed, self.shard.multiple, epoch.lengths
        )
        self.phases = task.phases(config)
        planned = sum(phase.epochs for phase in self.phases) * self.sampler.steps
        self.last_step = min(planned, train.max_steps or planned)
        frozen = task.frozen_weights(network)
        left_out = {id(variable) for variable in frozen}
        self.kept = [variable for variable in network.variables if id(variable) not in left_out]
        digest = hash_arrays(map(_to_array, frozen)) if frozen else ""
        self.state = TrainState(frozen_sha256=digest)
        self.best: list[np.ndarray] = []
        self.steps: Any = None  # these two are made for each phase
        self.optimizer: Any = None
        self.restored: Checkpoint | None = None
        epochs = -(-self.last_step // self.sampler.steps)
        self.progress = Progress(run if strategy.is_chief else None, epochs)
        self.checkpoints = Checkpoints(
            run.checkpoints_dir,
            train.keep_checkpoints,
            train.checkpoint_every_steps,
            60.0 * train.checkpoint_every_minutes,
        )
        self.pace = Pace(train.steps_per_execution, strategy)
        self.callbacks = Callbacks(task, network, preprocessing, config, run, strategy.is_chief)
        self.logs: dict[str, float] = {}  # of the last epoch, as callbacks name them
        self._started_at = time.perf_counter()
        self._energy: EnergyMeter | None = EnergyMeter()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Set state and weights to those of a checkpoint."""
        frozen = self.state.frozen_sha256
        self.state = TrainState(**checkpoint.state)
        if self.state.frozen_sha256 != frozen:
            raise UsageProblem(
                "--resume: the frozen weights, which checkpoints leave out, are not those that the "
                "run began with; bring the model that they come from back, or start a new run with "
                "--fresh."
            )
        with self.strategy.scope():
            _assign(self.kept, checkpoint.group("network"))
        self.best = checkpoint.group("best")
        if self.best and self.state.best_step is None:  # as checkpoints were before they said so
            self.state.best_step = self.state.step
        self.restored = checkpoint
        self.callbacks.set_states(self.state.callbacks)
        self._started_at -= self.state.seconds
        self._energy = None
        if self.strategy.is_chief:
            self.run.truncate_metrics(self.state.metrics_bytes)

    def run_phases(self) -> FitResult:
        """Run the phases that are left and restore the best weights."""
        state = self.state
        while state.phase < len(self.phases) and self._has_steps(self.last_step):
            self._run_phase(self.phases[state.phase])
            state.phase, state.phase_start = state.phase + 1, state.step
            state.epochs_without_improvement = 0
        self.callbacks.end(self.logs)
        if self.steps:
            # The way from here to the summary may be long; training need not be repeated for it.
            self._save()
            self.checkpoints.wait()
        if self.best:
            with self.strategy.scope():
                _assign(self._best_variables(), self.best)
        epochs, rest = divmod(state.step, self.sampler.steps)
        examples = epochs * self.sampler.size + rest * self.sampler.batch_size
        seconds = time.perf_counter() - self._started_at
        joules = self._energy.read() if self._energy else None
        return FitResult(state.step, examples, seconds, joules)

    def _run_phase(self, phase: Phase) -> None:
        state = self.state
        end = min(state.phase_start + phase.epochs * self.sampler.steps, self.last_step)
        phase.prepare(self.network)
        if len(self.phases) > 1 and self.strategy.is_chief:
            log.info("Phase %s: up to %d epochs", phase.name, phase.epochs)
        batches = training_batches(
            self.splits["train"],
            self.preprocessing,
            sampler=self.sampler,
            first_step=state.step,
            last_step=end,
            make_batch=self.task.make_batch,
            augment=self._augment,
            weights=self.sample_weights,
            shard=self.shard,
        )
        validation = evaluation_batches(
            self.splits["validation"],
            self.preprocessing,
            batch_size=self.config.data.batch_size,
            passes=None,  # one iterator: to begin a new one takes longer than a small split
            make_batch=self.task.make_batch,
            shard=self.shard,
        )
        self._compile(phase, end - state.phase_start, batches.element_spec)
        self.callbacks.begin(self.optimizer, self.progress.epochs, self.sampler.steps)
        batches, validation = (iter(self.steps.feed(b)) for b in (batches, validation))
        patience = self.config.train.early_stopping_patience
        while self._has_steps(end):
            if patience and state.epochs_without_improvement >= patience:
                log.debug("no better validation loss for %d epochs", patience)
                break
            self._run_epoch(batches, validation, min(self._epoch_start() + self.sampler.steps, end))

    def _augment(self, prepared: Any, targets: Any, uniform: Uniform) -> tuple[Any, Any]:
        return self.task.augment(prepared, targets, uniform, self.config)

    def _has_steps(self, end: int) -> bool:
        return self._epoch_start() < end and not self.state.stopped

    def _epoch_start(self) -> int:
        return self.state.epoch * self.sampler.steps

    def _compile(self, phase: Phase, steps: int, batch: Any) -> None:
        """Make optimizer and steps of a phase.

        Args:
            steps: of the phase.
            batch: specs of inputs, targets and weights.
        """
        train = self.config.train
        with self.strategy.scope():
            self.optimizer = make_optimizer(
                train,
                phase.learning_rate,
                steps,
                phase.decay(train.weight_decay, self.sampler.size),
            )
            self.optimizer.build(self.network.trainable_variables)
        arguments = self.config, self.preprocessing
        metrics = [find(self.task.metrics, name)(*arguments) for name in self.task.metrics]
        self.metrics = MetricSums(metrics)
        self.metrics.build(lambda: _make_zeros(self.network, *batch[:2]))
        loss = find(self.task.losses, train.loss)(*arguments)
        self.steps = self.strategy.compile(
            self.network,
            self.optimizer,
            loss,
            self.metrics,
            parts=train.accumulate_steps,
            use_xla=phase.use_xla,
        )
        restored, self.restored = self.restored, None
        if restored and self.state.step > self.state.phase_start:
            with self.strategy.scope():
                _assign(self.optimizer.variables, restored.group("optimizer"))
            self.steps.set_sums(restored.group("sums"))

    def _run_epoch(self, batches: Iterator[Any], validation: Iterator[Any], end: int) -> None:
        state, start, train = self.state, self._epoch_start(), self.config.train
        self.progress.begin_epoch()
        self.callbacks.call("on_epoch_begin", state.epoch)
        while state.step < end:
            multiples = (train.log_every_steps, train.checkpoint_every_steps)
            count = self.pace.count(state.step, end, [m for m in multiples if m])
            self.callbacks.call("on_train_batch_begin", state.step - start)
            with self.pace.measure(count):
                stop = self.steps.train(batches, count, bool(self.stop.requested))
                sums = self.steps.read_sums()
            state.step += count
            self._check_finite(sums)
            loss = float(sums[0]) / max(float(sums[1]), 1.0)
            self.progress.update_bar(state.epoch + 1, state.step - start, end - start, loss)
            if self.callbacks.by_name:
                logs = self.metrics.results(sums)
                self.callbacks.call("on_train_batch_end", state.step - start - 1, logs)
            if state.step % train.log_every_steps == 0:
                metrics = _add_prefix("train", self.metrics.results(sums))
                self.progress.write(state.step, state.epoch + 1, metrics)
            if stop:
                self._leave()
            if state.step < end and self.checkpoints.is_due(state.step, epoch_ended=False):
                self._save()
        self._end_epoch(validation)

    def _end_epoch(self, validation: Iterator[Any]) -> None:
        state, sums = self.state, self.steps.read_sums()
        self._check_finite(sums)
        train_metrics = self.metrics.results(sums)
        metrics = _add_prefix("train", train_metrics)
        self.callbacks.call("on_test_begin")
        validation_metrics = self._validate(validation, sums)
        self.callbacks.call("on_test_end", validation_metrics)
        metrics |= _add_prefix("validation", validation_metrics)
        metrics["train/learning_rate"] = float(self.optimizer.learning_rate)
        state.epoch += 1
        if state.best_loss is None or validation_metrics["loss"] < state.best_loss:
            state.best_loss, state.epochs_without_improvement = validation_metrics["loss"], 0
            state.best_step = state.step
            self.best = [_to_array(variable) for variable in self._best_variables()]
        else:
            state.epochs_without_improvement += 1
        self.steps.set_sums(self.metrics.zeros())
        self.progress.end_epoch(state.step, state.epoch, metrics)
        self.logs = train_metrics | {f"val_{k}": v for k, v in validation_metrics.items()}
        self.callbacks.call("on_epoch_end", state.epoch - 1, self.logs)
        if self.callbacks.may_stop:
            state.stopped = self.strategy.broadcast(self.callbacks.stop_training)
        if self.checkpoints.is_due(state.step, epoch_ended=True):
            self._save()

    def _best_variables(self) -> list[keras.Variable]:
        """Return the weights that checkpoints hold, without the states of random generators."""
        weights = {id(weight) for weight in self.network.weights}
        return [variable for variable in self.kept if id(variable) in weights]

    def _validate(
        self, batches: Iterator[Any], training_sums: list[np.ndarray]
    ) -> dict[str, float]:
        """Return loss and metrics of the validation split; if interrupted, it is repeated."""
        self.steps.set_sums(self.metrics.zeros())
        left = -(-len(self.splits["validation"]) // self.config.data.batch_size)
        while left:
            count = min(left, self.pace.per_execution)
            stop = self.steps.evaluate(batches, count, bool(self.stop.requested))
            left -= count
            if stop:
                self.steps.set_sums(training_sums)
                self._leave()
        sums = self.steps.read_sums()
        self._check_finite(sums)
        return self.metrics.results(sums)

    def _check_finite(self, sums: list[np.ndarray]) -> None:
        if not math.isfinite(sums[0]):
            self.checkpoints.wait()
            raise Diverged(
                f"training diverged: the loss is {float(sums[0])} at step {self.state.step}; try a "
                "lower train.learning_rate or train.gradient_clip_norm"
                f"{describe_last(self.run.checkpoints_dir)}"
            )

    def _leave(self) -> None:
        self._save()
        self.checkpoints.wait()
        cause = self.stop.requested or "another worker"
        raise Interrupted(
            f"stopped by {cause} at step {self.state.step}; the same command resumes there."
        )

    def _save(self) -> None:
        if not self.strategy.is_chief:
            return
        groups = {
            "network": [_to_array(v) for v in self.kept],
            "optimizer": [_to_array(v) for v in self.optimizer.variables],
            "sums": self.steps.read_sums(),
            "best": self.best,
        }
        arrays = {f"{k}/{i:04d}": a for k, group in groups.items() for i, a in enumerate(group)}
        self.state.seconds = time.perf_counter() - self._started_at
        self.state.metrics_bytes = self.run.metrics_size()
        self.state.callbacks = self.callbacks.get_states()
        self.checkpoints.save(self.state.step, arrays, asdict(self.state))


class Pace:
    """The number of steps in one call: as many as take about a tenth of a second.

    Fewer calls cost less; but between two calls losses are checked and signals are heard.

    Args:
        requested: a number of steps; None: chosen after the first few calls.
    """

    SECONDS = 0.1
    MAX_STEPS = 500

    def __init__(self, requested: int | None, strategy: Strategy) -> None:
        self.requested, self.strategy = requested, strategy
        self.per_execution = requested or 1
        self._timings: list[float] = []

    def count(self, step: int, end: int, multiples: list[int]) -> int:
        """Return the steps of the next call: up to the end, or to the next of the multiples."""
        return min(self.per_execution, end - step, *(m - step % m for m in multiples))

    def measure(self, count: int) -> "Pace":
        """Return a context that measures a call of ``count`` steps."""
        self._count = count
        return self

    def __enter__(self) -> None:
        self._started_at = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        if self.requested or len(self._timings) >= 4 or error[0]:
            return
        self._timings.append((time.perf_counter() - self._started_at) / self._count)
        if len(self._timings) == 4:
            # The first call includes compiling. All processes must make the same calls.
            fastest = max(min(self._timings[1:]), 1e-5)
            count = max(1, min(self.MAX_STEPS, round(self.SECONDS / fastest)))
            self.per_execution = self.strategy.broadcast(count)


def _add_prefix(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in metrics.items()}


def _make_zeros(network: keras.Model, inputs: Any, targets: tf.TensorSpec) -> tuple[Any, Any]:
    """Return targets and outputs (1, …) of zeros; axes without a fixed size have 1."""

    def shape_of(spec: Any) -> tuple[int, ...]:
        return (1, *(size or 1 for size in spec.shape[1:]))

    symbols = tf.nest.map_structure(
        lambda spec: keras.KerasTensor(shape_of(spec), spec.dtype.name), inputs
    )
    outputs = network.compute_output_spec(symbols)
    return (
        np.zeros(shape_of(targets), targets.dtype.as_numpy_dtype),
        np.zeros(shape_of(outputs), "float32"),
    )


def _to_array(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable.value))


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise UsageProblem(
            "--resume: the checkpoint is of another model than the code builds now; --fresh starts "
            "a new run."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
