"""When to try again, and when to give up: the retry rules of both clients.

Only UNAVAILABLE is tried again (and, for uploads, RESOURCE_EXHAUSTED that names a time), after a
full-jitter delay, within the deadline. Owns no sleeping.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from labelmill.errors import DeadlineError, LabelmillError, OverloadedError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast a call that met UNAVAILABLE is tried again.

    Delays are drawn uniformly from 0 to ``min(max_delay_s, first_delay_s * 2**n)`` ("full
    jitter"), n being the number of failures before.
    """

    #: Tries of a unary call, the first included; None bounds them by the deadline alone.
    max_attempts: int | None = None
    first_delay_s: float = 0.1
    max_delay_s: float = 5.0


class Backoff:
    """The retry state of one call, or of one stream that is kept alive.

    Args:
        policy: attempts and delays.
        timeout_s: seconds for everything together; None sets no bound.
        patience_s: seconds without `progress` after which UNAVAILABLE is raised; replaces
            `policy.max_attempts` when given.
        wait_out_overload: wait as long as the server says when it is overloaded.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
        wait_out_overload: bool = False,
    ) -> None:
        self._policy = policy
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._patience_s = patience_s
        self._wait_out_overload = wait_out_overload
        self._failures = 0
        self._failing_since = 0.0

    @property
    def failures(self) -> int:
        """Failures since the last `progress`."""
        return self._failures

    def remaining_s(self) -> float | None:
        """Seconds left for the next attempt; None when unbounded.

        Raises:
            DeadlineError: nothing is left.
        """
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError("the deadline passed; give a longer timeout")
        return left

    def progress(self) -> None:
        """Notes that the server answered: failures count from zero again."""
        self._failures = 0

    def delay_s(self, error: LabelmillError) -> float:
        """Seconds to wait before the next attempt; raises `error` when there must be none."""
        overloaded = self._wait_out_overload and isinstance(error, OverloadedError)
        if overloaded and error.retry_after_s is not None:
            # A little over what the server asked for, so that many uploaders spread out.
            delay = error.retry_after_s * random.uniform(1.0, 1.25)  # noqa: S311
        elif error.code == "UNAVAILABLE" and self._patient():
            exponent = min(self._failures - 1, 30)
            ceiling = min(self._policy.max_delay_s, self._policy.first_delay_s * 2**exponent)
            delay = max(random.uniform(0, ceiling), error.retry_after_s or 0.0)  # noqa: S311
        else:
            raise error
        if self._deadline is not None and time.monotonic() + delay >= self._deadline:
            raise error
        return delay

    def _patient(self) -> bool:
        now = time.monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        if self._patience_s is not None:
            return now - self._failing_since < self._patience_s
        return self._policy.max_attempts is None or self._failures < self._policy.max_attempts
