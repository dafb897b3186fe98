"""Keras callbacks in the training loop: the table ``CALLBACKS`` of the project, and TensorBoard.

They are called at the moments and with the logs of ``Model.fit``, on the chief alone. A batch, for
them, is one call of ``train.steps_per_execution`` steps. What they must not do:

- change weights or the optimizer where several workers train: the others would not;
- set the learning rate: ``train.schedule`` does;
- expect ``model.fit``'s own state: the network is not compiled.

A run resumes exactly if its callbacks have no state, or return it as JSON from ``get_state()`` and
take it back with ``set_state(state)``.
"""

from typing import Any

import keras

from .config_fields import BaseConfig
from .errors import missing_extra
from .interfaces import Preprocessing, Task
from .lookup import find
from .runs import Run


class Callbacks:
    """The callbacks of a run, by name; none on workers other than the chief.

    Args:
        network: what they see as ``self.model``.
        is_chief: whether they are called in this process.
    """

    def __init__(
        self,
        task: Task,
        network: keras.Model,
        preprocessing: Preprocessing,
        config: BaseConfig,
        run: Run,
        is_chief: bool,
    ) -> None:
        self.by_name: dict[str, keras.callbacks.Callback] = {}
        # Whether any process has callbacks, which may ask all of them to stop.
        self.may_stop = bool(task.callbacks)
        if is_chief:
            for name in task.callbacks:
                self.by_name[name] = find(task.callbacks, name)(config, preprocessing)
            if config.train.tensorboard:
                self.by_name["tensorboard"] = make_tensorboard(config, run)
        self.network = network
        self.list: keras.callbacks.CallbackList | None = None

    def begin(self, optimizer: keras.optimizers.Optimizer, epochs: int, steps: int) -> None:
        """Give the network the optimizer of a phase; before the first, call ``on_train_begin``.

        Args:
            optimizer: of the phase; callbacks may read it.
            epochs: of all phases together.
            steps: of an epoch.
        """
        if not self.by_name:
            return
        self.network.optimizer = optimizer
        if self.list is None:
            self.network.stop_training = False
            callbacks = list(self.by_name.values())
            self.list = keras.callbacks.CallbackList(
                callbacks, model=self.network, epochs=epochs, steps=steps, verbose=0
            )
            self.list.on_train_begin()

    def call(self, moment: str, *arguments: Any) -> None:
        """Call a method of all callbacks, such as ``on_epoch_end`` with the epoch and its logs."""
        if self.list:
            getattr(self.list, moment)(*arguments)

    def end(self, logs: dict[str, float]) -> None:
        """Call ``on_train_end`` and take the optimizer from the network, which is then saved."""
        if self.list:
            self.list.on_train_end(logs)
            self.network.optimizer = None
            self.list = None

    @property
    def stop_training(self) -> bool:
        """Whether a callback has asked to stop."""
        return bool(self.list and self.network.stop_training)

    def get_states(self) -> dict[str, Any]:
        """Return the states of the callbacks that have ``get_state``, by name."""
        return {
            name: callback.get_state()
            for name, callback in self.by_name.items()
            if hasattr(callback, "get_state")
        }

    def set_states(self, states: dict[str, Any]) -> None:
        """Undo ``get_states``."""
        for name, state in states.items():
            if name in self.by_name:
                self.by_name[name].set_state(state)


def make_tensorboard(config: BaseConfig, run: Run) -> keras.callbacks.TensorBoard:
    """Return a callback that writes scalars, the graph and a trace to the folder of the run.

    Args:
        config: says whether to trace, and which calls.
        run: whose folder it writes to.

    Raises:
        ProjectError: TensorBoard is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise missing_extra("train.tensorboard", "tensorboard") from None
    steps = config.train.profile_steps
    return keras.callbacks.TensorBoard(
        log_dir=str(run.path / "tensorboard"),
        profile_batch=tuple(map(int, steps.split(":"))) if steps else 0,
    )
