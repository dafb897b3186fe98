"""A study that several processes on several machines work on, kept in a database by Optuna.

No trial is lost or counted twice:

- Trials are handed out under a lock of the study (``StudyLock``): so many of them run or have
  ended as were asked for, never more.
- Whoever works on a trial gives a sign of life every ``HEARTBEAT`` seconds. Without one for
  ``GRACE`` seconds the trial is over, and its settings are handed out again.
- A result counts only while its trial still belongs to whoever brings it.
"""

import re
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ..config_fields import without_password
from ..errors import DataProblem, ProjectError, UsageProblem
from ..locks import wait_lock
from .space import SearchFile, SearchSpace

HEARTBEAT = 5  # seconds
GRACE = 60  # seconds; longer than a database or a network is usually gone
RETRIES = 3  # of a trial whose process was killed
STARTUP = 5  # trials at random before a sampler or a pruner compares
LOCK_SECONDS = 120
VERSION_TABLE = "alembic_version"  # of Optuna and of MLflow
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
PROBLEMS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


class TakenOver(Exception):
    """A trial belongs to somebody else: for too long it was without a sign of life."""


class Study:
    """A study that is open to work on.

    Args:
        url: of the database, with its password.
        name: of the study.
        space: what is searched.

    Raises:
        UsageProblem: the study has another space, goal or configuration.
        ProjectError: the database does not answer.
    """

    def __init__(self, url: str, name: str, space: SearchSpace) -> None:
        # Optuna warns of its experimental parts, among them what repeats a lost trial.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.url, self.name, self.space = url, name, space
        self._retry = RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
        with self._errors():
            self._lock = StudyLock(url, name)
            with self._lock.hold():
                self.storage = _open_storage(url, self._retry)
                self.study = optuna.create_study(
                    storage=self.storage,
                    study_name=name,
                    direction=space.definition()["direction"],
                    pruner=make_pruner(space.file),
                    load_if_exists=True,
                )
                self._check_definition()

    @property
    def facts(self) -> dict[str, Any]:
        """What all who work on the study share: ``definition``, ``key`` and more."""
        return self.study.user_attrs

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, or all."""
        with self._errors():
            return self.study.get_trials(deepcopy=False, states=states or None)

    def claim(self, total: int) -> Trial | None:
        """Return a trial to work on.

        Args:
            total: trials that the study shall have.

        Returns:
            None if as many have ended, or others work on the rest of them.
        """
        with self._errors(), self._lock.hold():
            fail_stale_trials(self.study)
            self._release_unclaimed()
            self._enqueue_defaults()
            trials = self.study.get_trials(deepcopy=False)
            states = Counter(trial.state for trial in trials)
            if sum(states[state] for state in (*ENDED, TrialState.RUNNING)) >= total:
                return None
            # The number of trials in the seed: two machines draw different ones, and a study that
            # is repeated by one machine draws the same.
            self.study.sampler = make_sampler(self.space, len(trials))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # heartbeats without Study.optimize
                trial = self.study.ask(self.space.distributions())
            self.give_sign(trial)
            trial.set_user_attr("claimed", trial.number)
            return trial

    def give_sign(self, trial: Trial) -> None:
        """Say that somebody works on the trial."""
        with self._errors():
            self.storage.record_heartbeat(self._trial_id(trial))

    def note(self, trial: Trial, **facts: Any) -> None:
        """Keep facts about a trial."""
        with self._errors():
            for name, value in facts.items():
                trial.set_user_attr(name, value)

    def report(self, trial: Trial, epoch: int, value: float) -> bool:
        """Keep the goal after an epoch, and return whether the trial should be stopped.

        Args:
            trial: it.
            epoch: counted from 1.
            value: of the goal.
        """
        with self._errors():
            trial.report(value, epoch)
            return trial.should_prune()

    def finish(self, trial: Trial, state: TrialState, value: float | None = None) -> None:
        """Keep the result of a trial.

        Args:
            trial: it.
            state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
            value: of the goal, if it is complete.

        Raises:
            TakenOver: it belongs to somebody else by now, as with the other methods for a trial.
        """
        with self._errors(), self._lock.hold():
            if not self._is_running(trial):
                raise TakenOver
            self.study.tell(trial, value, state)

    def release(self, trial: Trial) -> None:
        """Give a trial back, so that somebody resumes it."""
        with self._errors(), self._lock.hold():
            if self._is_running(trial):
                self._release(trial.number)

    def check_data(self, digest: str) -> None:
        """Compare the data of a trial with that of the others.

        Raises:
            DataProblem: it is other data.
        """
        with self._errors(), self._lock.hold():
            first = self.facts.get("data")
            if first is None:
                self.study.set_user_attr("data", digest)
        if first not in (None, digest):
            raise DataProblem(
                f"--study: the data is not that of the study {self.name!r}; trials on different "
                "data cannot be compared. --study NAME begins another one."
            )

    def share(self, name: str, value: Any) -> None:
        """Keep a fact for all who work on the study."""
        with self._errors():
            self.study.set_user_attr(name, value)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock of the study."""
        with self._errors(), self._lock.hold():
            yield

    def _trial_id(self, trial: Trial) -> int:
        study_id = self.storage.get_study_id_from_name(self.name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)

    def _is_running(self, trial: Trial) -> bool:
        return self.study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING

    def _release(self, number: int) -> None:
        self.study.tell(number, state=TrialState.FAIL)
        self._retry(self.study, self.study.get_trials()[number])

    def _release_unclaimed(self) -> None:
        """Release trials of processes that were killed before their first sign of life."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get("claimed") != trial.number:
                self._release(trial.number)

    def _enqueue_defaults(self) -> None:
        """See to it that the configuration as it is given is among the trials."""
        states = (*ENDED, TrialState.RUNNING, TrialState.WAITING)
        trials = self.study.get_trials(deepcopy=False, states=states)
        if not any(is_default(trial) for trial in trials):
            self.study.enqueue_trial(self.space.defaults(), user_attrs={"default": True})

    def _check_definition(self) -> None:
        now, before = self.space.definition(), self.facts.get("definition")
        if before is None:
            self.study.set_user_attr("definition", now)
            self.study.set_user_attr("key", uuid.uuid4().hex)
        elif difference := _difference(before, now):
            raise UsageProblem(
                f"--study: {self.name!r} {difference}; trials of both could not be compared. "
                "--study NAME begins another one."
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except optuna.exceptions.UpdateFinishedTrialError:
            raise TakenOver from None
        except PROBLEMS as error:
            raise _problem(self.url, error.__cause__ or error) from None


class StudyLock:
    """A lock that processes on all machines respect, and that ends with its process."""

    def __init__(self, url: str, name: str) -> None:
        parsed = _parse_url(url)
        self._file = None
        if parsed.get_backend_name() == "sqlite":
            self._file = Path(f"{parsed.database}.{name}.lock")
        else:
            self._engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.NullPool)
            self._key = f"study {name}"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock."""
        if self._file:
            with wait_lock(self._file):
                yield
            return
        options = {"isolation_level": "AUTOCOMMIT"}
        with self._engine.connect().execution_options(**options) as connection:
            connection.execute(sqlalchemy.text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
            lock = sqlalchemy.text("SELECT pg_advisory_lock(hashtext(:key))")
            connection.execute(lock, {"key": self._key})
            yield  # closing the connection releases it


def is_default(trial: FrozenTrial) -> bool:
    """Return whether a trial has the configuration as it was given."""
    return bool(trial.user_attrs.get("default"))


def make_sampler(space: SearchSpace, number: int) -> BaseSampler:
    """Return what draws the settings of a trial.

    Args:
        space: what is searched.
        number: of the trial.
    """
    seed = 1_000 * space.config.train.seed + number
    if space.file.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=STARTUP)


def make_pruner(file: SearchFile) -> BasePruner:
    """Return what decides whether a trial is stopped early."""
    if file.pruner == "median":
        return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=file.warmup_epochs)
    if file.pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=file.warmup_epochs, reduction_factor=3)
    return NopPruner()


def _open_storage(url: str, retry: RetryHeartbeatStaleTrialCallback) -> RDBStorage:
    parsed = _parse_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if sqlite else {}
    _check_is_free(parsed)
    return RDBStorage(
        url,
        engine_kwargs={"pool_pre_ping": True, **options},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=retry,
    )


def _check_is_free(url: sqlalchemy.URL) -> None:
    """Refuse a database in which MLflow keeps runs: both call the table of their version alike.

    Raises:
        UsageProblem: it is such a database.
    """
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    tables = sqlalchemy.inspect(engine).get_table_names()
    if VERSION_TABLE in tables and "studies" not in tables:
        raise UsageProblem(
            f"--storage: {without_password(str(url))!r} is the database of another program, such "
            "as MLflow; a study needs one of its own."
        )


def _parse_url(url: str) -> sqlalchemy.URL:
    public = without_password(url)
    try:
        parsed = sqlalchemy.make_url(url)
        backend = parsed.get_backend_name()
        if backend in ("sqlite", "postgresql"):
            parsed.get_dialect()().import_dbapi()
    except ImportError as error:
        raise ProjectError(
            f"--storage: {public!r} needs a driver: pip install 'psycopg[binary]' ({error})."
        ) from None
    except (ArgumentError, ValueError):
        raise UsageProblem(f"--storage: {public!r} is no URL of a database.") from None
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and not parsed.database):
        raise UsageProblem(
            f"--storage: {public!r} is not allowed: sqlite:///FILE or postgresql://…."
        )
    return parsed


def _problem(url: str, error: BaseException) -> ProjectError:
    text = " ".join(str(error).split()).replace(url, without_password(url))
    secret = _parse_url(url).password
    text = text.replace(str(secret), "…") if secret else text
    text = re.sub(r"\(Background on this error at: .*", "", text)
    return ProjectError(
        f"--storage: {without_password(url)!r} does not answer; the same command continues "
        f"({text[:200].strip()})."
    )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return in words how a study differs from what is asked for now."""
    old_names, new_names = ({*each["fields"], *each["space"]} for each in (before, now))
    if old_names != new_names:
        names = sorted(old_names - new_names)
        shown = f", which has {names[0]}" if names else ""
        return f"is a study of another template{shown}"
    for key in ("goal", "direction"):
        if before[key] != now[key]:
            return f"has the {key} {before[key]!r}, not {now[key]!r}"
    for part, verb in (("space", "searches"), ("fields", "was configured with")):
        for name in sorted({*before[part], *now[part]}):
            old, new = before[part].get(name, "nothing"), now[part].get(name, "nothing")
            if old != new:
                return f"{verb} {name}={old!r}, not {new!r}"
    return None
