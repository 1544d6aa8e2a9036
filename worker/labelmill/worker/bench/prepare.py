"""`python -m labelmill.worker.bench.prepare`: settles what a benchmark run works on.

Resolves the version, checks its files, reads the texts, and writes the job that contenders read.
Prints one JSON object: the job's summary, or ``{"error": {"reason", "message"}}``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import redis

from labelmill.errors import InvalidArgumentError, LabelmillError, ModelNotFoundError
from labelmill.names import DEFAULT_ALIAS, parse_model_ref
from labelmill.queue.connection import connect
from labelmill.queue.keys import Keys
from labelmill.registry import Manifest, Registry
from labelmill.registry.manifest import TOKENIZER_FILE
from labelmill.worker import cpu
from labelmill.worker.bench import host
from labelmill.worker.bench.job import Job
from labelmill.worker.bench.texts import Texts, limited, read_file, read_test_split
from labelmill.worker.bench.weights import macs_per_token
from labelmill.worker.engines.base import missing_library
from labelmill.worker.tokenizer import Tokenizer

#: Name of the job's file in the run's folder.
JOB_FILE = "job.json"


def resolve(registry: Registry, model: str, redis_url: str | None) -> tuple[str, int]:
    """Name and version that ``name[@alias|@version]`` means.

    A bare name is its default alias where Redis answers, and the newest version otherwise.

    Raises:
        ModelNotFoundError: there is no such model, alias or version, or Redis, which holds the
            aliases, does not run.
    """
    ref = parse_model_ref(model)
    versions = registry.versions(ref.name)
    if ref.version is not None:
        registry.path(ref.name, ref.version)
        return ref.name, ref.version
    alias = ref.alias or DEFAULT_ALIAS
    pointed = _alias(redis_url, ref.name, alias)
    if pointed is not None:
        return ref.name, pointed
    if alias == DEFAULT_ALIAS:
        return ref.name, versions[-1]
    raise ModelNotFoundError(
        f"the alias {alias!r} of {ref.name!r} is not known here (aliases live in Redis: is "
        f"`labelmill up` running?); name a version, e.g. {ref.name}@{versions[-1]}"
    )


def _alias(redis_url: str | None, model: str, alias: str) -> int | None:
    if redis_url is None:
        return None
    try:
        with connect(redis_url) as client:
            found: Any = client.hget(Keys().aliases(model), alias)
    except redis.RedisError:
        return None
    return None if found is None else int(found)


def prepare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the job; returns its summary."""
    registry = Registry(arguments.registry)
    model, version = resolve(registry, arguments.model, arguments.redis_url)
    manifest = registry.verify(model, version)
    folder = registry.path(model, version)
    texts = limited(_texts(arguments, registry, manifest), arguments.limit)
    tokenizer = Tokenizer(folder / TOKENIZER_FILE, manifest.max_length)
    job = Job(
        registry=registry.root,
        model=model,
        version=version,
        texts=texts.texts,
        labels=texts.labels,
        source=texts.source,
        token_counts=[len(tokens.ids) for tokens in tokenizer.encode(texts.texts)],
        threads=arguments.threads,
        folder=arguments.out,
    )
    (arguments.out / JOB_FILE).write_text(job.model_dump_json(), encoding="utf-8")
    return {
        "model": model,
        "version": version,
        "source": texts.source,
        "texts": len(texts.texts),
        "labels": texts.labels,
        "token_counts": job.token_counts,
        "macs_per_token": macs_per_token(folder),
        "host": host.describe(),
        "unavailable": unavailable(manifest),
    }


def unavailable(manifest: Manifest) -> dict[str, str]:
    """Contenders that cannot run for this version or on this machine, with the reason."""
    reasons = {}
    for name in ("onnx-int8", "onnx-fp32"):
        if name not in manifest.engines:
            reasons[name] = f"the version has only {', '.join(manifest.engines)}"
    if "onnx-int8" not in manifest.engines:
        reasons["openvino-int8"] = "the version has no INT8 file"
    elif missing := missing_library("openvino"):
        reasons["openvino-int8"] = missing
    if not cpu.has_bf16():
        reasons |= dict.fromkeys(
            ("hf-pipeline-bf16", "torch-bf16"), "this CPU has neither AVX512_BF16 nor AMX"
        )
    return reasons


def _texts(arguments: argparse.Namespace, registry: Registry, manifest: Manifest) -> Texts:
    if arguments.data:
        return read_file(arguments.data, arguments.text_column, arguments.label_column)
    own = read_test_split(registry, manifest)
    if own is not None:
        return own
    if arguments.fallback:
        return read_file(arguments.fallback, "text", "label")
    raise InvalidArgumentError.at(
        "data",
        f"{manifest.model}@{manifest.version} has no test texts of its own here; give --data FILE",
    )


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--redis-url")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--fallback", type=Path, help="texts when the version has none")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    try:
        summary = prepare(parser.parse_args())
    except LabelmillError as error:
        summary = {"error": {"reason": error.reason, "message": error.message}}
    sys.stdout.write(json.dumps(summary) + "\n")
    return 1 if "error" in summary else 0


if __name__ == "__main__":
    sys.exit(main())
