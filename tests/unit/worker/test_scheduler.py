from __future__ import annotations

import queue
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.worker import scheduler as module
from labelmill.worker.engines.cost import CostModel
from labelmill.worker.engines.cut import Limits, cut
from labelmill.worker.models import LoadedModel
from labelmill.worker.scheduler import Scheduler
from labelmill.worker.tokenizer import Tokens
from labelmill.worker.work import Work

#: About MiniLM on one core: a batch is worth 32 tokens.
COST = CostModel(batch_ms=1.0, row_ms=0.0, token_ms=0.03125, pair_ms=0.0)
LIMITS = Limits(tokens=512, ms=25.0)


def model() -> LoadedModel:
    # The scheduler reads only these fields of a loaded model.
    manifest = SimpleNamespace(labels=["yes", "no"])
    fields = SimpleNamespace(manifest=manifest, cost=COST, limits=LIMITS)
    return cast("LoadedModel", fields)


def work(owner: LoadedModel, lengths: list[int]) -> Work:
    tokens = [Tokens([1] * length, length) for length in lengths]
    return Work(owner, tokens, done=lambda *_: None, wanted=lambda: True)


def drain(scheduler: Scheduler) -> list[Any]:
    scheduler.close()
    batches = []
    while (batch := scheduler.next()) is not None:
        batches.append(batch)
    return batches


def test_online_work_runs_before_bulk_work() -> None:
    scheduler, owner = Scheduler(), model()
    bulk, online = work(owner, [10] * 100), work(owner, [10])
    scheduler.put_bulk(bulk)
    scheduler.put_online(online, deadline_ms=1)
    batches = drain(scheduler)
    assert batches[0].parts[0].work is online
    rows = [row for batch in batches[1:] for part in batch.parts for row in part.rows]
    assert sorted(rows) == list(range(100))


def test_requests_that_wait_together_share_a_batch_of_their_model() -> None:
    scheduler, one, other = Scheduler(), model(), model()
    works = [work(one, [10]), work(other, [10]), work(one, [12])]
    for deadline, item in enumerate(works):
        scheduler.put_online(item, deadline)
    batches = drain(scheduler)
    assert [[part.work for part in batch.parts] for batch in batches] == [
        [works[0], works[2]],
        [works[1]],
    ]


def test_earlier_deadlines_run_first() -> None:
    scheduler = Scheduler()
    late, soon = work(model(), [5]), work(model(), [5])
    scheduler.put_online(late, 200)
    scheduler.put_online(soon, 100)
    assert [batch.parts[0].work for batch in drain(scheduler)] == [soon, late]


@given(st.lists(st.lists(st.integers(1, 600), min_size=1, max_size=40), min_size=1, max_size=12))
def test_online_batches_keep_the_limits_and_gain_by_being_shared(requests: list[list[int]]) -> None:
    scheduler, owner = Scheduler(), model()
    works = [work(owner, lengths) for lengths in requests]
    for deadline, item in enumerate(works):
        scheduler.put_online(item, deadline)
    waiting = sum(map(len, requests))
    assert scheduler.online_rows() == waiting
    seen: dict[int, list[int]] = {id(item): [] for item in works}
    total = 0.0
    scheduler.close()
    while (batch := scheduler.next()) is not None:
        lengths = [len(row) for row in batch.token_ids()]
        total += COST.of(len(lengths), max(lengths))
        assert len(lengths) == 1 or len(lengths) * max(lengths) <= LIMITS.tokens
        assert len(lengths) == 1 or COST.of(len(lengths), max(lengths)) <= LIMITS.ms
        for part in batch.parts:
            seen[id(part.work)] += part.rows
        waiting -= len(lengths)
        assert scheduler.online_rows() == waiting
    assert [sorted(seen[id(item)]) for item in works] == [list(range(len(r))) for r in requests]
    alone = sum(
        COST.of(len(rows), max(lengths[row] for row in rows))
        for lengths in requests
        for rows in cut(lengths, COST, LIMITS)
    )
    assert total <= alone + 1e-6


def test_the_most_urgent_request_is_in_the_next_batch_whatever_would_fill_it_better() -> None:
    scheduler, owner = Scheduler(), model()
    long, shorts = work(owner, [400]), [work(owner, [8]) for _ in range(20)]
    scheduler.put_online(long, 0)
    for item in shorts:
        scheduler.put_online(item, 1)
    first, second = drain(scheduler)
    assert [part.work for part in first.parts] == [long]
    assert [part.work for part in second.parts] == shorts


def test_a_short_text_is_not_padded_to_a_long_one_that_waits_with_it() -> None:
    scheduler, owner = Scheduler(), model()
    works = [work(owner, [10]), work(owner, [128]), work(owner, [30])]
    for deadline, item in enumerate(works):
        scheduler.put_online(item, deadline)
    batches = drain(scheduler)
    assert [[part.work for part in batch.parts] for batch in batches] == [
        [works[0], works[2]],
        [works[1]],
    ]


def test_threads_without_work_share_a_request() -> None:
    scheduler, owner = Scheduler(), model()
    taken: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=lambda: taken.put(scheduler.next()), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while scheduler.idle() < 2:
        threading.Event().wait(0.001)
    scheduler.put_online(work(owner, [16] * 16), 0)
    batches = [taken.get(timeout=10) for _ in threads]
    assert sorted(len(batch.token_ids()) for batch in batches) == [8, 8]


def test_endless_online_work_does_not_starve_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    scheduler, owner = Scheduler(), model()
    bulk = work(owner, [10])
    scheduler.put_bulk(bulk)
    for deadline in range(4):
        scheduler.put_online(work(owner, [LIMITS.tokens]), deadline)
    first = scheduler.next()
    clock[0] += module.BULK_PATIENCE_S * 2
    second = scheduler.next()
    assert first is not None
    assert second is not None
    assert first.parts[0].work is not bulk
    assert second.parts[0].work is bulk


def test_a_waiting_thread_ends_when_the_scheduler_closes() -> None:
    scheduler = Scheduler()
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(scheduler.next()))
    thread.start()
    scheduler.close()
    thread.join(5)
    assert ended == [None]
