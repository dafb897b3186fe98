"""The story of a run: load, build, fit, evaluate, record. What each part does is in ``task.py``."""

import logging
import time
from contextlib import ExitStack
from dataclasses import replace

from .config import Config
from .engine import evaluation, logs, loop, tracking
from .engine.artifact import Artifact
from .engine.determinism import set_seeds
from .engine.extensions import adapt_task, call_hooks_at_end
from .engine.progress import report_end, report_start
from .engine.resume import start_or_resume
from .engine.runs import Run, Summary
from .engine.strategy import connect, prepare
from .engine.summary import summarize
from .engine.trained_models import fix_origin
from .task import task

log = logging.getLogger(__name__)


def train(
    config: Config, resume: Run | None = None, fresh: bool = False, measure: str = "test"
) -> Summary | None:
    """Train as configured; everything is recorded in ``runs/<run id>/`` and in MLflow.

    Args:
        config: all fields of the run.
        resume: an unfinished run to resume; None: the newest one with this configuration.
        fresh: start a new run in any case.
        measure: the split that the finished model is measured on: ``test``; or ``validation``, and
            then nothing looks at the test split: there are no baselines and no reports.

    Returns:
        The summary of the run; None on workers other than the chief.

    Raises:
        UsageProblem: the configuration cannot work here.
        DataProblem: the data is malformed.
        Diverged: loss or weights became NaN or infinite.
        Interrupted: a signal arrived; the same call resumes.
    """
    started_at = time.perf_counter()
    prepare(config.runtime)
    config = fix_origin(config)
    own_task = adapt_task(task, config)
    set_seeds(config.train)
    strategy = connect(config.runtime, own_task.sharding_rules)
    with strategy.worker_failures():
        data = own_task.load(config, None)
        preprocessing = own_task.preprocessing.fit(data.train, config)
        network = loop.build(own_task, config, preprocessing, strategy)
        # What can be wrong with the request was found by now: from here on there is a run.
        start = start_or_resume(config, data, strategy, resume, fresh)
    run = start.run
    parts = (own_task, network, data, preprocessing, config, strategy, run, start.checkpoint)

    if not strategy.is_chief:
        with strategy.worker_failures():
            loop.fit(*parts)
            digest = Artifact(network, preprocessing, own_task).weights_sha256()
            log.info("Weights of this worker: %s", digest)
            strategy.wait_for_all()  # the chief has saved the model
        return None

    with ExitStack() as stack:
        stack.enter_context(start.hold())
        stack.enter_context(logs.log_to_file(run.log_file))
        recorder = stack.enter_context(tracking.record(config.tracking, run))
        report_start(run, config, data, strategy)
        with strategy.worker_failures():
            fit_result = loop.fit(*parts)
        model = Artifact(strategy.local_copy(network), preprocessing, own_task)
        model = own_task.finalize(model, data, config)
        model.save(run.model_file)
        with strategy.worker_failures():
            strategy.wait_for_all()

        final = measure == "test"
        evaluation.check_reload(model, run.model_file, data.splits[measure])
        tested = evaluation.evaluate(model, data, measure, config, run.report_dir, figures=final)
        evaluation.draw_history(run)
        baselines = own_task.measure_baselines(data, preprocessing, config) if final else []
        summary = summarize(run, tested, strategy, fit_result, start.checkpoint, baselines)
        summary["seconds"]["total"] = round(time.perf_counter() - started_at, 2)
        if final:
            tracking.write_request(run, model, data)
            own_task.write_report(run.report_dir, model, data, summary, config)
        run.write_summary(summary)
        if final:
            tested = replace(tested, run=run, summary=summary, baselines=tuple(baselines))
            call_hooks_at_end("after_evaluation", tested, None)
        if recorder:
            recorder.finish("FINISHED")
            summary["mlflow"] = recorder.read_recorded()
            run.write_summary(summary)
        report_end(run, summary)
    return summary
