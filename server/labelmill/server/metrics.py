"""Rate, errors and duration of every method, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from labelmill.errors import FailedPreconditionError

#: Upper bounds in seconds: from a cached answer to a long upload.
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)


class Metrics:
    """The figures of one server; served on a port of its own by `serve`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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
