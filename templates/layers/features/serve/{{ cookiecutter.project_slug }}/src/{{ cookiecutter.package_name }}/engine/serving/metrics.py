"""What the service measures, for Prometheus."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

MAX_PREDICTIONS = 100  # different ones of a model that are counted each on its own
OTHERS = "(others)"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one service; no label is free text of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "requests", "Requests by route and status", ["method", "path", "status"], registry=own
        )
        self.seconds = Histogram(
            "request_seconds", "Time to answer", ["path"], buckets=SECONDS, registry=own
        )
        self.batch_rows = Histogram(
            "batch_rows", "Rows of a batch", ["model"], buckets=ROWS, registry=own
        )
        self.queue_rows = Gauge("queue_rows", "Rows that wait", ["model"], registry=own)
        self.predictions = Counter(
            "predictions", "Answers by what they predict", ["model", "prediction"], registry=own
        )
        self.wrong_rows = Counter("wrong_rows", "Rows that were refused", ["model"], registry=own)
        self.dropped_rows = Counter(
            "dropped_rows", "Rows that monitoring had no time for", ["model"], registry=own
        )
        self.model = Gauge(
            "model_info", "1 for the version in use", ["model", "version"], registry=own
        )
        self.reloads = Counter("reloads", "New models by result", ["model", "result"], registry=own)
        self._predictions: dict[str, set[str]] = {}

    def count_answers(self, model: str, answers: Iterable[Mapping[str, Any]]) -> None:
        """Count answers by what they predict, and wrong rows.

        Args:
            model: its name.
            answers: as ``LoadedModel.answer`` returns them for all rows.
        """
        for answer in answers:
            if "error" in answer:
                self.wrong_rows.labels(model).inc()
                continue
            # A text that a model has written is free text: it is counted by why it ends.
            predicted = answer.get("finish_reason", answer.get("prediction"))
            for name in predicted if isinstance(predicted, list) else [predicted]:
                self.predictions.labels(model, self._label(model, str(name))).inc()

    def set_version(self, model: str, before: str | None, version: str) -> None:
        """Note which version of a model is in use.

        Args:
            model: its name.
            before: the version that was in use.
            version: the new one.
        """
        if before is not None:
            self.model.remove(model, before)
        self.model.labels(model, version).set(1)

    def write(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def _label(self, model: str, prediction: str) -> str:
        known = self._predictions.setdefault(model, set())
        if prediction in known or len(known) < MAX_PREDICTIONS:
            known.add(prediction)
            return prediction
        return OTHERS
