"""Rate, errors and duration of every method, and what workers say they computed; Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from labelmill.errors import FailedPreconditionError
from labelmill.queue.presence import WorkerInfo

#: Upper bounds in seconds: from a cached answer to a long upload.
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)


class Metrics:
    """The figures of one server; served on a port of its own by `serve`.

    Args:
        workers: those that live now.
    """

    def __init__(self, workers: Callable[[], Sequence[WorkerInfo]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Workers(workers))
        self.calls = Counter(
            "labelmill_server_calls",
            "Calls that ended, by method and status code.",
            ["method", "code"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "labelmill_server_call_seconds",
            "Duration of calls, streams included.",
            ["method"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.active = Gauge(
            "labelmill_server_active_calls",
            "Calls under way.",
            ["method"],
            registry=self._registry,
        )

    def serve(self, host: str, port: int) -> None:
        """Answers scrapes from a thread of its own.

        Raises:
            FailedPreconditionError: the port cannot be had.
        """
        try:
            start_http_server(port, addr=host, registry=self._registry)
        except OSError as error:
            raise FailedPreconditionError(
                f"metrics_port: cannot listen on {host}:{port} ({error.strerror}); give another "
                "--metrics-port"
            ) from error


class _Workers(Collector):
    """Padding by worker: one minus tokens over padded tokens is the share that was wasted."""

    def __init__(self, workers: Callable[[], Sequence[WorkerInfo]]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Called at every scrape."""
        tokens = CounterMetricFamily(
            "labelmill_worker_tokens", "Tokens of the texts a worker scored.", labels=["worker"]
        )
        padded_tokens = CounterMetricFamily(
            "labelmill_worker_padded_tokens",
            "Tokens of the batches a worker scored, padding included.",
            labels=["worker"],
        )
        for worker in self._workers():
            tokens.add_metric([worker.name], worker.tokens)
            padded_tokens.add_metric([worker.name], worker.padded_tokens)
        return [tokens, padded_tokens]
