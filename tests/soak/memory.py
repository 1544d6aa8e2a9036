"""Memory of a worker over a million texts of 3 to 400 words: `make soak`.

A worker and a Valkey of their own score job after job. Prints a line a job, and at the end whether
resident memory after the first one grew by less than 5%; the exit code says the same.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psutil
from soak.model import publish
from workers import WorkerProcess

from labelmill.queue.connection import connect_async
from labelmill.queue.embedded import EmbeddedServer
from labelmill.queue.job import NewJob
from labelmill.queue.jobs import JobStore
from labelmill.registry import Registry
from labelmill.v1.classification_pb2 import ScoringOptions
from labelmill.v1.scoring_pb2 import ScoringItem

ROOT = Path(__file__).resolve().parents[2]

#: Growth of resident memory after the first job that passes.
MOST_GROWTH = 0.05

#: Seconds between looks at the worker's memory.
LOOK_S = 0.5

#: Texts of one call of `append`.
APPENDED = 2_048

_MIB = 1 << 20


def texts(count: int, shortest: int, longest: int, seed: int) -> Iterator[str]:
    """Texts of uniformly many words, from those of the example reviews."""
    with (ROOT / "examples" / "reviews.csv").open(encoding="utf-8") as file:
        words = sorted({word for row in csv.DictReader(file) for word in row["text"].split()})
    rng = random.Random(seed)
    for _ in range(count):
        yield " ".join(rng.choices(words, k=rng.randint(shortest, longest)))


class Soak:
    """Jobs for one version on one worker.

    Args:
        store: the queue.
        version: name, version and concrete engine.
        worker: whose memory is watched.
    """

    def __init__(
        self, store: JobStore, version: tuple[str, int, str], worker: psutil.Process
    ) -> None:
        self._store = store
        self._version = version
        self._worker = worker
        #: Most resident memory since this was last set to 0.
        self.most = 0

    def look(self) -> int:
        """Resident memory now, in bytes."""
        now: int = self._worker.memory_info().rss
        self.most = max(self.most, now)
        return now

    async def watch(self) -> None:
        """Looks again and again."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    async def score(self, rows: Iterator[str]) -> int:
        """Scores one job to its end, deletes it and returns how many texts it had."""
        model, version, engine = self._version
        new = NewJob("t", model, version, engine, "NORMAL", ScoringOptions(), 1.0, 60_000, 0, "")
        record = await self._store.create(new)
        count = 0
        while items := [ScoringItem(text=text) for text in islice(rows, APPENDED)]:
            await self._store.append(record, count, items)
            count += len(items)
        record = await self._store.seal(record.id)
        async for seen in self._store.watch(record.id):
            record = seen
        assert record.succeeded == count, record
        await self._store.delete(record.id)
        return count


async def soak(arguments: argparse.Namespace, folder: Path) -> float:
    """Runs all jobs; returns by what share memory grew after the first."""
    registry = Registry(arguments.registry or folder / "registry")
    model, _, number = (arguments.model or "soak@1").partition("@")
    if not arguments.registry:
        publish(registry, arguments.max_length)
    with EmbeddedServer(folder / "valkey", options={"appendonly": "no"}) as server:
        worker = WorkerProcess(
            server.url,
            registry.root,
            folder / "worker.log",
            LABELMILL_THREADS=str(arguments.threads),
        ).ready()
        client = connect_async(server.url)
        process = psutil.Process(worker.process.pid)
        one = Soak(JobStore(client), (model, int(number), arguments.engine), process)
        watching = asyncio.create_task(one.watch())
        scored, first, grown = 0, 0, 0.0
        try:
            while scored < arguments.texts:
                started, one.most = time.monotonic(), 0
                count = min(arguments.job, arguments.texts - scored)
                rows = texts(count, arguments.shortest, arguments.longest, seed=scored)
                scored += await one.score(rows)
                rate = count / (time.monotonic() - started)
                resident = one.look()
                first = first or one.most
                grown = one.most / first - 1
                print(
                    f"{scored:>9,} texts, {rate:,.0f} a second: {one.most / _MIB:.1f} MiB at most, "
                    f"{resident / _MIB:.1f} now, {grown:+.1%} since the first job",
                    flush=True,
                )
        finally:
            watching.cancel()
            await client.aclose()
            worker.drain()
            worker.kill()
            print(worker.log.read_text(errors="replace"), file=sys.stderr)
    return grown


def main() -> int:
    """Returns the exit code: 1 when memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--job", type=int, default=50_000, help="texts a job")
    parser.add_argument("--shortest", type=int, default=3, help="words")
    parser.add_argument("--longest", type=int, default=400, help="words")
    parser.add_argument("--max-length", type=int, default=512, help="tokens of the model made here")
    parser.add_argument("--registry", type=Path, help="of a model to take instead")
    parser.add_argument("--model", help="name@version in that registry")
    parser.add_argument("--engine", default="onnx-int8")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lm-soak-") as folder:
        grown = asyncio.run(soak(arguments, Path(folder)))
    print(f"resident memory grew by {grown:+.1%} after the first job (limit {MOST_GROWTH:.0%})")
    return int(grown >= MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
