"""Models in workers: memory and speed of processes that have models of their own, map their weights, or share one copy.

    python -m tests.bench.shared_models [--json] [--processes 1 2 4] [--engine NAME] [--vit_b_32] [--pairs N]

Memory is PSS, a page that n processes have counts 1/n for each, summed over the processes that score and the one that has the models, after
scoring; "models" is what it is above the same processes before they load any. Speed is pairs a second, and a CPU second: a neighbour on the
machine sways the one and not the other. Weights of ViT-B/32 are random. The second table is what sending inputs to another process takes.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from apache_beam.utils.multi_process_shared import MultiProcessShared

from pipelines.steps.loaded_scorers import LoadedScorers
from pipelines.steps.sent_arrays import Outbox, Sent, received
from quality.engines import started_by
from quality.engines.run import start_here
from quality.engines.threads import bound_threads
from quality.scorers import make_scorers
from quality.scorers.batch import PairBatch
from schemas.cache import cache_dir
from tests.scoring import random_clip, sample_pairs

WAYS = ("own", "mapped", "machine")
NAMES = ("embed", "nsfw")
ROWS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the tables")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="(default: 2 and 4)")
    parser.add_argument("--engine", default="onnxruntime-f32", help="of all models that it can run (default: %(default)s)")
    parser.add_argument("--vit_b_32", action="store_true", help="ViT-B/32 for embeddings, in place of the embedded model")
    parser.add_argument("--pairs", type=int, default=192, help="that each process scores (default: %(default)s)")
    args = parser.parse_args()
    model = _vit_b_32() if args.vit_b_32 else "pigment-embedded"
    _measured("mapped", 1, model, args.engine, 8)  # the first lays weights out
    found = list[dict[str, Any]]()
    say = (lambda text: None) if args.json else partial(print, flush=True)
    say("models    processes   all PSS   models alone   a process   pairs/s   pairs/CPU s   threads   scores")
    for count in args.processes:
        for way in WAYS:
            found.append(_measured(way, count, model, args.engine, args.pairs))
            say(_line(found[-1]))
    sending = _sending()
    say(_sending_table(sending))
    if args.json:
        print(json.dumps({"engine": args.engine, "model": model, "ways": found, "sending": sending}))
    if len({row["scores"] for row in found}) > 1:
        raise SystemExit("scores differ")


def _vit_b_32() -> str:
    import open_clip

    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": preprocess}
    return random_clip("ViT-B-32", cache_dir() / "bench-vit-b-32", config)


def _measured(way: str, count: int, model: str, engine: str, pairs: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(count + 1), context.Queue()
    workers = [context.Process(target=_worker, args=(way, model, engine, pairs, together, answers)) for _ in range(count)]
    for worker in workers:
        worker.start()
    together.wait()
    before = sum(_pss(worker.pid) for worker in workers)
    together.wait()  # load
    together.wait()  # loaded
    everyone = [psutil.Process(worker.pid) for worker in workers]
    everyone += [child for process in list(everyone) for child in process.children(recursive=True)]
    threads = [process.num_threads() for process in everyone]
    cpu, begin = _cpu(everyone), time.perf_counter()
    together.wait()  # score
    together.wait()  # scored
    took, cpu = time.perf_counter() - begin, _cpu(everyone) - cpu
    after = sum(_pss(process.pid) for process in everyone)
    own = [_pss(worker.pid) for worker in workers]
    together.wait()
    scores = {answers.get() for _ in workers}
    for worker in workers:
        worker.join()
    return {
        "way": way, "processes": count, "models_mb": round(after - before), "pss_mb": round(after), "a_process_mb": round(sum(own) / count),
        "pairs_a_second": round(count * pairs / took, 1), "pairs_a_cpu_second": round(count * pairs / cpu, 1), "threads": max(threads[:count]),
        "scores": " ".join(sorted(scores)),
    }  # fmt: skip


def _worker(way: str, model: str, engine: str, pairs: int, together: Any, answers: Any) -> None:
    bound_threads()
    import open_clip  # noqa: F401
    import transformers  # noqa: F401

    scorers = make_scorers(NAMES, model=model, engines=_engines(engine))
    together.wait()
    together.wait()
    if way == "own":
        with started_by(partial(start_here, mapped=False)):
            for scorer in scorers:
                scorer.load()
        score = _by(scorers)
    else:
        score = partial(LoadedScorers(scorers, sharing="machine" if way == "machine" else "process").score, where="bench")
    together.wait()
    together.wait()
    digest = hashlib.sha256()
    given = sample_pairs(pairs, step=2)
    for at in range(0, pairs, ROWS):
        captions, data = zip(*given[at : at + ROWS], strict=True)
        digest.update(str(score(PairBatch(captions, data)).to_pydict()).encode())
    together.wait()
    together.wait()
    answers.put(digest.hexdigest()[:12])


def _by(scorers: Any) -> Any:
    import pyarrow as pa

    def score(batch: PairBatch) -> pa.RecordBatch:
        found = {
            f"{scorer.name}.{f}": column for scorer in scorers for f, column in zip(scorer.fields.names, scorer.score(batch), strict=True)
        }
        return pa.record_batch(list(found.values()), names=list(found))

    return score


def _engines(engine: str) -> dict[str, str]:
    return {"embed.image": engine, "embed.text": engine, "nsfw.image": "onnxruntime-f32" if engine.startswith("torch") else engine}


def _pss(pid: int | None) -> float:
    """MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def _cpu(processes: Any) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class _Sink:
    """The other process."""

    def array(self, inputs: np.ndarray) -> float:
        return float(inputs.ravel()[-1])

    def sent(self, sent: Sent) -> float:
        with received(sent) as inputs:
            return float(inputs.ravel()[:: 4096 // inputs.itemsize].sum())  # every page is looked at


def _sending(times: int = 10) -> list[dict[str, Any]]:
    sink = MultiProcessShared(_Sink, f"pigment-bench-{os.getpid()}", always_proxy=True, spawn_process=True).acquire()
    outbox, found = Outbox(), []
    for dtype in (np.uint8, np.float32):
        inputs = np.ones((ROWS, 224, 224, 3), dtype)
        took = {}
        for way, call in (("proxy", lambda x=inputs: sink.array(x)), ("shared", lambda x=inputs: sink.sent(outbox.put(x)))):
            call()
            each = []
            for _ in range(times):
                begin = time.perf_counter()
                call()
                each.append(time.perf_counter() - begin)
            took[way] = round(1e3 * min(each), 1)
        found.append(
            {"dtype": np.dtype(dtype).name, "mb": round(inputs.nbytes / 1e6, 1), "proxy_ms": took["proxy"], "shared_ms": took["shared"]}
        )
    return found


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['way']:<10}{row['processes']:9}{row['pss_mb']:7} MB{row['models_mb']:12} MB{row['a_process_mb']:9} MB"
        f"{row['pairs_a_second']:10.1f}{row['pairs_a_cpu_second']:14.1f}{row['threads']:10}   {row['scores']}"
    )


def _sending_table(sending: list[dict[str, Any]]) -> str:
    lines = ["", "64 images sent        proxy   shared memory"]
    lines += [f"{row['dtype']:<10}{row['mb']:5} MB {row['proxy_ms']:7.1f} ms{row['shared_ms']:13.1f} ms" for row in sending]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
