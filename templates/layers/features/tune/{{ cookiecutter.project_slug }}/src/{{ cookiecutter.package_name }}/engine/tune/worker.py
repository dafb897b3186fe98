"""Working on a study: one trial after the other, until as many have ended as were asked for."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import Trial, TrialState

from ..errors import DataProblem, Diverged, Interrupted, ProjectError, UsageProblem, unknown
from ..runs import Run, find_run
from ..signals import StopRequest
from .space import tidy, to_word
from .study import ENDED, HEARTBEAT, Study, TakenOver
from .trial import KEY, Epoch, TrialProcess, describe, read_best_value

POLL = 0.5  # seconds between two looks at a trial
WAIT = 2.0  # seconds between two looks at the trials of others
FAILURES = 3  # in a row, after which something else than the settings is wrong
CONTINUES = "the same command continues"


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
        state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
        value: of the goal, if it is complete.
        reason: why it is not.
    """

    state: TrialState
    value: float | None = None
    reason: str = ""


@dataclass
class Progress:
    """What a trial has come to so far.

    Attributes:
        epochs: that have ended.
        prune: why it is to be stopped; empty: it is not.
    """

    epochs: list[Epoch] = field(default_factory=list)
    prune: str = ""


class Worker:
    """One process that works on a study.

    Args:
        study: it.
        words: fields of every trial, as words.
        folder: for what the trials print.
        parent: id of the study's run in MLflow; None: there is none.
        stop: whether a signal has arrived.
        deadline: by ``time.monotonic``; None: none.
    """

    def __init__(
        self,
        study: Study,
        words: Sequence[str],
        folder: Path,
        parent: str | None,
        stop: StopRequest,
        deadline: float | None,
    ) -> None:
        self.study, self.words, self.folder = study, list(words), folder
        self.parent, self.stop, self.deadline = parent, stop, deadline
        self.total = 0
        self.failures = 0

    def work(self, total: int) -> None:
        """Work until so many trials have ended, or the time is over.

        Raises:
            Interrupted: SIGTERM or Ctrl-C; the trial is given back.
            ProjectError: no trial works.
        """
        self.total = total
        waiting = False
        while not self._is_late():
            self._check_stop()
            trial = self.study.claim(total)
            if trial:
                waiting = False
                self._run(trial)
            elif self._count_ended() >= total:
                return
            else:
                if not waiting:
                    print("Waiting for the trials of other processes.", flush=True)
                waiting = True
                time.sleep(WAIT)
        print(f"The time is over after {self._count_ended()} of {total} trials; {CONTINUES}.")

    def _count_ended(self) -> int:
        return len(self.study.trials(*ENDED))

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _check_stop(self) -> None:
        if self.stop.requested:
            ended = self._count_ended()
            raise Interrupted(
                f"stopped by {self.stop.requested} after {ended} of {self.total} trials; "
                f"{CONTINUES}."
            )

    def _run(self, trial: Trial) -> None:
        try:
            self._run_claimed(trial)
        except TakenOver:
            print(f"trial {trial.number} was taken over by another process: not counted.")

    def _run_claimed(self, trial: Trial) -> None:
        begin = time.monotonic()
        run = self._find_earlier_run(trial)
        progress = Progress()
        try:
            if run and run.summary is not None:  # its study was killed before it was noted
                outcome = self._read_finished(run)
            else:
                with self._start(trial, run) as process:
                    found = self._follow(trial, process, progress)
                if found is None:
                    self.study.release(trial)
                    return
                outcome = found
        except BaseException:
            self.study.release(trial)
            raise
        seconds = time.monotonic() - begin
        self._finish(trial, outcome, len(progress.epochs), seconds)

    def _find_earlier_run(self, trial: Trial) -> Run | None:
        """Return the run of a trial that was begun before, if it is here and nobody works on it."""
        try:
            run = find_run(trial.user_attrs["run"])
        except (KeyError, UsageProblem):
            return None
        deadline = time.monotonic() + 60.0  # whoever was killed may still write a checkpoint
        while time.monotonic() < deadline and not self.stop.requested:
            lock = run.claim()
            if lock:
                lock.close()
                return run if run.state in ("unfinished", "finished") else None
            self.study.give_sign(trial)
            time.sleep(POLL)
        return None

    def _start(self, trial: Trial, run: Run | None) -> TrialProcess:
        values = tidy(trial.params).items()
        words = [*self.words, *(w for k, v in values for w in (f"--{k}", to_word(v)))]
        tags = {
            "tune.study": self.study.name,
            "tune.trial": str(trial.number),
            KEY: f"{self.study.facts['key']}-{trial.number}",
        }
        if self.parent:
            tags["mlflow.parentRunId"] = self.parent
        log_file = self.folder / f"trial-{trial.number}.log"
        return TrialProcess(words, tags, log_file, run if run and run.summary is None else None)

    def _follow(self, trial: Trial, process: TrialProcess, progress: Progress) -> Outcome | None:
        """Return how the trial ended; None if it is to be resumed."""
        next_sign = 0.0
        patience = 60.0 * self.study.space.file.patience_minutes
        while process.poll() is None:
            if time.monotonic() >= next_sign:
                self.study.give_sign(trial)
                next_sign = time.monotonic() + HEARTBEAT
            self._read(trial, process, progress)
            if progress.prune or self.stop.requested or self._is_late():
                process.stop()
            elif process.seconds_without_a_sign() > patience:
                process.kill()
                return self._give_up(process, TrialState.FAIL, "failed", "it hung")
            else:
                time.sleep(POLL)
        self._read(trial, process, progress)
        return self._judge(trial, process, progress)

    def _read(self, trial: Trial, process: TrialProcess, progress: Progress) -> None:
        """Note the run, and report the epochs that have ended and whether to stop the trial."""
        goal = self.study.space.file.goal
        run = process.find_run()
        if run and run.id != trial.user_attrs.get("run"):
            self.study.note(trial, run=run.id, host=socket.gethostname())
            self.study.check_data(run.read_existing("record")["digest"])
        for epoch in process.read_epochs():
            if goal not in epoch.metrics:
                names = [name for name in epoch.metrics if name.startswith("validation/")]
                raise unknown("goal", goal, names)
            progress.epochs.append(epoch)
            value = read_best_value([epoch], goal)
            if value is None or not self.study.report(trial, epoch.number, value):
                continue
            # The configuration as it was given is what the others are compared with.
            if not trial.user_attrs.get("default"):
                progress.prune = f"{goal} {value:.4g} after epoch {epoch.number} was worse"

    def _judge(self, trial: Trial, process: TrialProcess, progress: Progress) -> Outcome | None:
        code, run = process.poll(), process.find_run()
        if code == 0 and run:
            return self._read_finished(run)
        if code == Interrupted.exit_code and not progress.prune:
            return None
        if code == UsageProblem.exit_code and process.resumes:  # on a machine that differs
            self.study.note(trial, run="")
            return None
        if progress.prune:
            return self._give_up(process, TrialState.PRUNED, "pruned", progress.prune)
        reason = process.read_error()
        if code == Diverged.exit_code:
            return self._give_up(process, TrialState.PRUNED, "diverged", reason)
        if code == DataProblem.exit_code:
            raise DataProblem(reason)
        if trial.user_attrs.get("default"):
            error = UsageProblem if code == UsageProblem.exit_code else ProjectError
            raise error(f"the configuration as it was given does not train: {reason}")
        return self._give_up(process, TrialState.FAIL, "failed", reason)

    def _read_finished(self, run: Run) -> Outcome:
        goal = self.study.space.file.goal
        lines = [Epoch(line["epoch"], line["metrics"]) for line in run.read_metrics()]
        value = read_best_value([epoch for epoch in lines if goal in epoch.metrics], goal)
        if value is None:
            return Outcome(TrialState.FAIL, reason=f"{goal} is not a finite number")
        return Outcome(TrialState.COMPLETE, value)

    def _give_up(self, process: TrialProcess, state: TrialState, name: str, reason: str) -> Outcome:
        if (run := process.find_run()) and run.summary is None:
            run.give_up(name, reason)
        return Outcome(state, reason=reason)

    def _finish(self, trial: Trial, outcome: Outcome, epochs: int, seconds: float) -> None:
        self.study.note(trial, seconds=round(seconds, 1), reason=outcome.reason)
        self.study.finish(trial, outcome.state, outcome.value)
        shown = {
            TrialState.COMPLETE: f"{self.study.space.file.goal} {outcome.value or 0:.5g}",
            TrialState.PRUNED: f"stopped: {outcome.reason}",
            TrialState.FAIL: f"failed: {outcome.reason}",
        }[outcome.state]
        counted = f"[{self._count_ended()}/{self.total}]"
        cost = f"({epochs} epochs, {seconds:.0f} s)"
        print(f"{counted} trial {trial.number}  {shown}  {cost}", flush=True)
        print(f"    {describe(trial.params)}", flush=True)
        self.failures = self.failures + 1 if outcome.state == TrialState.FAIL else 0
        if self.failures >= FAILURES:
            raise ProjectError(f"{FAILURES} trials in a row failed; the last one: {outcome.reason}")
