"""What is measured of chats and completions, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class ChatMetrics:
    """Counters of one service; no label is free text of a request.

    Args:
        registry: of the service's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter(
            "chat_tokens", "Tokens read and written", ["model", "kind"], registry=registry
        )
        self.answers = Counter(
            "chat_answers", "Answers by how they ended", ["model", "end"], registry=registry
        )
        self.first_token = Histogram(
            "chat_first_token_seconds",
            "Time to the first token, queue included",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.step = Histogram(
            "chat_step_seconds",
            "Time of a token of all answers",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.active = Gauge(
            "chat_active", "Requests that are written", ["model"], registry=registry
        )
        self.waiting = Gauge("chat_waiting", "Requests that wait", ["model"], registry=registry)
