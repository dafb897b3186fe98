"""Building a model on the run's devices, and fitting it phase by phase."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from . import cache, objective, registry
from .artifact import warm_start
from .checkpoints import Checkpoint, Checkpoints, last_good
from .config import Config
from .contract import Data, Phase, Preprocessing
from .distribution import Devices
from .errors import Diverged, Interrupted, UsageProblem
from .evaluate import find_artifact
from .interruption import StopRequest
from .journal import Journal
from .lookup import find
from .meters import Meters
from .model import FITTED, phases, vocabularies
from .model import build as build_model
from .optimizers import make_optimizer
from .pipeline import ShuffledOrder, evaluation_batches, training_batches
from .preprocessing import augment
from .runs import Run
from .seeds import spread_seeds

log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Fitted:
    """What fitting came to: global steps, examples seen, and seconds that it took."""

    steps: int
    examples: int
    seconds: float


@dataclass
class Position:
    """Where training stands, arrays aside.

    Attributes:
        step: batches so far.
        epoch: finished epochs; those of all phases are counted through.
        phase: number of the current phase.
        phase_began: the step at which it began.
        best_loss: the lowest validation loss of all phases.
        waited: epochs of this phase without a new best.
        seconds: of fitting.
        journal: bytes of ``metrics.jsonl``.
    """

    step: int = 0
    epoch: int = 0
    phase: int = 0
    phase_began: int = 0
    best_loss: float | None = None
    waited: int = 0
    seconds: float = 0.0
    journal: int = 0


def build(config: Config, preprocessing: Preprocessing, devices: Devices) -> keras.Model:
    """The numeric core on the run's devices, from scratch or from earlier weights."""
    with devices.scope():
        core = build_model(config, preprocessing)
        if config.train.init_from:
            earlier = find_artifact(config.train.init_from, config, "train.init_from")[0]
            before, now = vocabularies(earlier.preprocessing), vocabularies(preprocessing)
            copied = warm_start(core, earlier, before, now, FITTED)
            if copied == 0:
                raise UsageProblem(
                    f"train.init_from: {config.train.init_from!r} is of another model or input: "
                    f"it shares no layer with this {config.model.name!r}."
                )
        spread_seeds(core, config.train.seed)
    return core


def fit(
    core: keras.Model,
    data: Data,
    preprocessing: Preprocessing,
    config: Config,
    devices: Devices,
    run: Run,
    checkpoint: Checkpoint | None,
) -> Fitted:
    """Train the core in place; the weights with the best validation loss stay.

    Args:
        run: where the chief writes metrics and checkpoints.
        checkpoint: where to go on from.

    Raises:
        Diverged: loss or weights left the finite numbers.
        Interrupted: SIGTERM or Ctrl-C; a checkpoint is written.
    """
    with StopRequest() as stop:
        training = Training(core, data, preprocessing, config, devices, run, stop)
        if checkpoint:
            training.restore(checkpoint)
        return training.run_all()


class Training:
    """The loop over phases, epochs and steps, and all that must survive an interruption."""

    def __init__(
        self,
        core: keras.Model,
        data: Data,
        preprocessing: Preprocessing,
        config: Config,
        devices: Devices,
        run: Run,
        stop: StopRequest,
    ) -> None:
        self.core, self.preprocessing, self.config = core, preprocessing, config
        self.devices, self.run, self.stop = devices, run, stop
        writes = cache.writes_here(devices)
        self.splits = {
            name: cache.prepared(
                split,
                preprocessing,
                config.data.cache,
                f"{data.digest}/{name}",
                writes,
                lambda: stop.check("while examples are prepared"),
            )
            for name, split in (("train", data.train), ("validation", data.validation))
        }
        drawn = self.splits["train"] = self.splits["train"].epoch()
        self.weights = objective.example_weights(drawn.targets, preprocessing, config)
        train, batch_size = config.train, config.data.batch_size
        self.order = ShuffledOrder(
            len(drawn), batch_size, train.seed, devices.share.multiple, drawn.lengths
        )
        self.phases = phases(config)
        planned = sum(phase.epochs for phase in self.phases) * self.order.steps
        self.last_step = min(planned, train.max_steps or planned)
        self.at = Position()
        self.best: list[np.ndarray] = []
        self.engine: Any = None
        self.optimizer: keras.optimizers.Optimizer | None = None
        self.restored: Checkpoint | None = None
        epochs = -(-self.last_step // self.order.steps)
        self.journal = Journal(run if devices.is_chief else None, epochs)
        self.checkpoints = Checkpoints(
            run.checkpoints_dir,
            train.keep_checkpoints,
            train.checkpoint_every_steps,
            60.0 * train.checkpoint_every_minutes,
        )
        self.pace = Pace(train.steps_per_execution, devices)
        self._began = time.perf_counter()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was written."""
        self.at = Position(**checkpoint.state)
        with self.devices.scope():
            _assign(self.core.variables, checkpoint.group("core"))
        self.best = checkpoint.group("best")
        self.restored = checkpoint
        self._began -= self.at.seconds
        if self.devices.is_chief:
            self.run.cut_metrics(self.at.journal)

    def run_all(self) -> Fitted:
        """All phases that are left."""
        while self.at.phase < len(self.phases) and self._epoch_begins_at() < self.last_step:
            self._run_phase(self.phases[self.at.phase])
            self.at.phase, self.at.phase_began, self.at.waited = self.at.phase + 1, self.at.step, 0
        if self.engine:
            # The way from here to the summary may be long; training need not be repeated for it.
            self._save()
            self.checkpoints.wait()
        if self.best:
            with self.devices.scope():
                self.core.set_weights(self.best)
        whole, rest = divmod(self.at.step, self.order.steps)
        examples = whole * self.order.size + rest * self.order.batch_size
        return Fitted(self.at.step, examples, time.perf_counter() - self._began)

    def _run_phase(self, phase: Phase) -> None:
        end = min(self.at.phase_began + phase.epochs * self.order.steps, self.last_step)
        phase.prepare(self.core)
        if len(self.phases) > 1 and self.devices.is_chief:
            log.info("Phase %s: up to %d epochs", phase.name, phase.epochs)
        self._make_engine(phase, end - self.at.phase_began)
        share = self.devices.share
        batches = iter(
            self.engine.feed(
                training_batches(
                    self.splits["train"],
                    self.preprocessing,
                    order=self.order,
                    first_step=self.at.step,
                    last_step=end,
                    augment=lambda prepared, uniform: augment(prepared, uniform, self.config),
                    weights=self.weights,
                    share=share,
                )
            )
        )
        validation = iter(
            self.engine.feed(
                evaluation_batches(
                    self.splits["validation"],
                    self.preprocessing,
                    batch_size=self.config.data.batch_size,
                    passes=None,  # one iterator: to begin a new one takes longer than a small split
                    share=share,
                )
            )
        )
        patience = self.config.train.early_stopping_patience
        while self._epoch_begins_at() < end:
            if patience and self.at.waited >= patience:
                log.debug("no better validation loss for %d epochs", self.at.waited)
                break
            epoch_end = self._epoch_begins_at() + self.order.steps
            self._run_epoch(batches, validation, min(epoch_end, end))

    def _epoch_begins_at(self) -> int:
        return self.at.epoch * self.order.steps

    def _make_engine(self, phase: Phase, steps: int) -> None:
        with self.devices.scope():
            self.optimizer = make_optimizer(
                self.config.train, phase.learning_rate, steps, phase.decay_scale(self.order.size)
            )
            self.optimizer.build(self.core.trainable_variables)
        given = self.config, self.preprocessing
        self.meters = Meters([find(registry.METRICS, name)(*given) for name in registry.METRICS])
        few = self.splits["train"].targets[:1]
        outputs = np.zeros((1, *self.core.output_shape[1:]), "float32")
        self.meters.build(self.preprocessing.encode_targets(few), outputs)
        loss = find(registry.LOSSES, self.config.train.loss)(*given)
        self.engine = self.devices.engine(self.core, self.optimizer, loss, self.meters)
        restored, self.restored = self.restored, None
        if restored and self.at.step > self.at.phase_began:
            with self.devices.scope():
                _assign(self.optimizer.variables, restored.group("optimizer"))
            self.engine.set_sums(restored.group("sums"))

    def _run_epoch(self, batches: Iterator[Any], validation: Iterator[Any], end: int) -> None:
        began_at = self._epoch_begins_at()
        self.journal.begin_epoch()
        train = self.config.train
        while self.at.step < end:
            marks = (train.log_every_steps, train.checkpoint_every_steps)
            count = self.pace.count(self.at.step, end, [mark for mark in marks if mark])
            with self.pace.timed(count):
                stop = self.engine.train(batches, count, bool(self.stop.wished))
                sums = self.engine.read_sums()
            self.at.step += count
            self._check_finite(sums)
            loss = float(sums[0]) / max(float(sums[1]), 1.0)
            steps = self.at.step - began_at
            self.journal.progress(self.at.epoch + 1, steps, end - began_at, loss)
            if self.at.step % train.log_every_steps == 0:
                metrics = _named("train", self.meters.results(sums))
                self.journal.line(self.at.step, self.at.epoch + 1, metrics)
            if stop:
                self._leave()
            if self.at.step < end and self.checkpoints.due(self.at.step, epoch_ended=False):
                self._save()
        self._end_epoch(validation)

    def _end_epoch(self, validation: Iterator[Any]) -> None:
        sums = self.engine.read_sums()
        self._check_finite(sums)
        metrics = _named("train", self.meters.results(sums))
        validated = self._validate(validation, sums)
        metrics |= _named("validation", validated)
        metrics["train/learning_rate"] = float(self.optimizer.learning_rate)
        self.at.epoch += 1
        if self.at.best_loss is None or validated["loss"] < self.at.best_loss:
            self.at.best_loss, self.at.waited = validated["loss"], 0
            self.best = self.core.get_weights()
        else:
            self.at.waited += 1
        self.engine.set_sums(self.meters.zeros())
        self.journal.end_epoch(self.at.step, self.at.epoch, metrics)
        if self.checkpoints.due(self.at.step, epoch_ended=True):
            self._save()

    def _validate(
        self, batches: Iterator[Any], training_sums: list[np.ndarray]
    ) -> dict[str, float]:
        """Loss and metrics of the validation split; interrupted, it is as if not begun."""
        self.engine.set_sums(self.meters.zeros())
        left = -(-len(self.splits["validation"]) // self.config.data.batch_size)
        while left:
            count = min(left, self.pace.per_execution)
            stop = self.engine.evaluate(batches, count, bool(self.stop.wished))
            left -= count
            if stop:
                self.engine.set_sums(training_sums)
                self._leave()
        sums = self.engine.read_sums()
        self._check_finite(sums)
        return self.meters.results(sums)

    def _check_finite(self, sums: list[np.ndarray]) -> None:
        if not math.isfinite(sums[0]):
            self.checkpoints.wait()
            raise Diverged(
                f"training diverged: the loss is {float(sums[0])} at step {self.at.step}; try a "
                "lower train.learning_rate or train.gradient_clip_norm"
                f"{last_good(self.run.checkpoints_dir)}"
            )

    def _leave(self) -> None:
        self._save()
        self.checkpoints.wait()
        cause = self.stop.wished or "another worker"
        raise Interrupted(
            f"stopped by {cause} at step {self.at.step}; the same command goes on from there."
        )

    def _save(self) -> None:
        if not self.devices.is_chief:
            return
        arrays = {
            "core": [_copied(v) for v in self.core.variables],
            "optimizer": [_copied(v) for v in self.optimizer.variables],
            "sums": self.engine.read_sums(),
            "best": self.best,
        }
        named = {f"{k}/{i:04d}": a for k, group in arrays.items() for i, a in enumerate(group)}
        self.at.seconds = time.perf_counter() - self._began
        self.at.journal = self.run.metrics_size()
        self.checkpoints.save(self.at.step, named, asdict(self.at))


class Pace:
    """How many steps are one call: as many as take about a tenth of a second.

    Fewer calls cost less; but between two calls losses are checked and signals are heard.

    Args:
        wished: a number of steps; None: it is chosen after the first few.
    """

    SECONDS = 0.1
    MOST = 500

    def __init__(self, wished: int | None, devices: Devices) -> None:
        self.wished, self.devices = wished, devices
        self.per_execution = wished or 1
        self._timings: list[float] = []

    def count(self, step: int, end: int, marks: list[int]) -> int:
        """Steps of the next call: not beyond the end, nor beyond a multiple of a mark."""
        return min(self.per_execution, end - step, *(mark - step % mark for mark in marks))

    def timed(self, count: int) -> "Pace":
        self._counted = count
        return self

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        if self.wished or len(self._timings) >= 4 or error[0]:
            return
        self._timings.append((time.perf_counter() - self._began) / self._counted)
        if len(self._timings) == 4:
            # The first call includes compiling. All processes must make the same calls.
            fastest = max(min(self._timings[1:]), 1e-5)
            wished = max(1, min(self.MOST, round(self.SECONDS / fastest)))
            self.per_execution = self.devices.from_chief(wished)


def _named(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in metrics.items()}


def _copied(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable.value))


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise UsageProblem(
            "--resume: the checkpoint is of another model than the code builds now; --fresh starts "
            "anew."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
