from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labelmill.worker import scheduler as module
from labelmill.worker.models import LoadedModel
from labelmill.worker.scheduler import Scheduler
from labelmill.worker.tokenizer import Tokens
from labelmill.worker.work import Work


def model(labels: int = 2) -> LoadedModel:
    # The scheduler reads only these two fields of a loaded model.
    manifest = SimpleNamespace(labels=["l"] * labels)
    return cast("LoadedModel", SimpleNamespace(manifest=manifest, batch_tokens=256))


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


def test_no_batch_is_padded_beyond_the_budget() -> None:
    scheduler, owner = Scheduler(), model()
    lengths = [3, 500, 7, 128, 64, 9] * 20
    for deadline in range(5):
        scheduler.put_online(work(owner, lengths), deadline)
    total = 0
    for batch in drain(scheduler):
        ids = batch.token_ids()
        total += len(ids)
        assert len(ids) == 1 or len(ids) * max(map(len, ids)) <= module.MAX_PADDED_TOKENS
    assert total == 5 * len(lengths)


def test_endless_online_work_does_not_starve_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    scheduler, owner = Scheduler(), model()
    bulk = work(owner, [10])
    scheduler.put_bulk(bulk)
    for deadline in range(4):
        scheduler.put_online(work(owner, [module.MAX_PADDED_TOKENS]), deadline)
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
