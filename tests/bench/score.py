"""Scoring: ScoreUnits against a bare loop over the same decoder and models.

    python -m tests.bench.score [--json] [--rows N] [--model M] [--images DIR]

The bare loop reads, decodes, prepares and runs 64 pairs at a time, with the fastest engine of each model on this CPU, in as many processes.
`ratio` is ours over bare in two processes. Start-up (imports, models) is apart: the clock runs from when all processes are ready.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2

from pipelines.steps.loaded_scorers import LoadedScorers
from pipelines.steps.score_units import score_unit
from quality.engines import start
from quality.images.decode import decode
from quality.scorers import make_scorers, towers_of
from quality.scorers.batch import SIDE
from quality.scorers.embed import find_model, open_model, run_groups
from quality.scorers.image import of_pixels
from quality.scorers.nsfw import prepare
from quality.scorers.protocol import info_of
from schemas.pool import Pool
from schemas.units import Pass
from tests.bench.engines import fastest
from tests.bench.engines import lines as engine_lines
from tests.scoring import SAMPLE, Pair, put_unit, sample_pairs

SCORERS = ("embed", "clip", "nsfw", "image")  # that the bare loop runs too
UNIT_ROWS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument("--rows", type=int, default=384, help="pairs to score (default: %(default)s)")
    parser.add_argument("--model", default="pigment-embedded", help="as of the embed scorer (default: %(default)s)")
    parser.add_argument("--images", type=Path, default=None, help="folder of images to take instead of the packaged sample")
    args = parser.parse_args()

    begin = time.perf_counter()
    engines, rates_of_engines = fastest(make_scorers(model=args.model))
    result: dict[str, Any] = {
        "choosing_s": round(time.perf_counter() - begin, 1),
        "engines": engines,
        "rates": rates_of_engines,
        "rows": args.rows,
    }
    with tempfile.TemporaryDirectory() as folder:
        units = _fill(Pool(folder), _pairs(args.images, args.rows))
        for processes in (1, 2):
            # Interleaved and the better of two, since the machine is seldom ours alone.
            rates: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(2):
                for name, work in (("bare", _bare), ("ours", _ours)):
                    rates[name].append(_rate(work, folder, units, processes, args.model, engines, args.rows))
            for name, found in rates.items():
                result[f"{name}_{processes}"] = round(max(found), 1)
            result[f"ratio_{processes}"] = round(max(rates["ours"]) / max(rates["bare"]), 3)
    result["ratio"] = result["ratio_2"]
    print(json.dumps(result) if args.json else _table(result))
    sys.exit(0 if result["ratio"] >= 0.9 else 1)


def _pairs(images: Path | None, rows: int) -> list[Pair]:
    if images is None:
        pairs = sample_pairs(rows)
    else:
        pairs = [(path.stem.replace("_", " "), path.read_bytes()) for path in sorted(images.rglob("*")) if path.is_file()]
    if not pairs:
        raise SystemExit(f"no images in {images or SAMPLE}")
    return [pairs[row % len(pairs)] for row in range(rows)]


def _fill(pool: Pool, pairs: list[Pair]) -> list[str]:
    units = [f"{0:016x}-{number:05d}" for number in range(-(-len(pairs) // UNIT_ROWS))]
    for number, unit in enumerate(units):
        put_unit(pool, unit, pairs[number * UNIT_ROWS : (number + 1) * UNIT_ROWS])
    return units


def _rate(work: Any, folder: str, units: list[str], processes: int, model: str, engines: dict[str, str], rows: int) -> float:
    """Pairs a second from the moment when all processes are ready to the last result."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(processes + 1), context.Event()
    workers = [
        context.Process(target=_worker, args=(work, folder, units[number::processes], model, engines, ready, go))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    begin = time.perf_counter()
    go.set()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - begin
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a worker failed")
    return rows / took


def _worker(prepare_work: Any, folder: str, units: list[str], model: str, engines: dict[str, str], ready: Any, go: Any) -> None:
    cv2.setNumThreads(1)
    try:
        work = prepare_work(Pool(folder), units, model, engines)
    except BaseException:
        ready.abort()  # or the others would wait for ever
        raise
    ready.wait()
    go.wait()
    work()


def _ours(pool: Pool, units: list[str], model: str, engines: dict[str, str]) -> Callable[[], None]:
    """What a process of ScoreUnits does with its units, commits included."""
    scorers = make_scorers(SCORERS, model=model, engines=engines)
    pass_ = Pass.of([info_of(scorer) for scorer in scorers])
    loaded = LoadedScorers(scorers)

    def work() -> None:
        with ThreadPoolExecutor(1) as executor, tempfile.TemporaryDirectory() as target:
            written = Pool(target)
            for unit in units:
                commit = pool.raw_commit(unit)
                assert commit is not None
                table = score_unit(pool, unit, loaded, executor=executor)
                written.commit_scores(pass_.name, unit, table, input_digest=commit.content_digest)

    return work


def _bare(pool: Pool, units: list[str], model: str, engines: dict[str, str]) -> Callable[[], None]:
    """The shortest loop: read, decode, run each model on 64 rows, keep the numbers in memory. No chunks ahead, no tables, no commits."""
    clip = open_model(find_model(model), None)
    towers = {tower.name: start(tower, engines[tower.name]) for tower in towers_of(make_scorers(model=model))}

    def work() -> None:
        kept = []
        for unit in units:
            raw = pool.read_raw(unit, ["caption", "offset", "size"]).to_pydict()
            data = pool.read_bytes(unit, raw["offset"], raw["size"])
            for at in range(0, len(data), 64):
                part = data[at : at + 64]
                images = [decode(item, side=SIDE) for item in part]
                image = towers["embed.image"](clip.prepare(images))
                text = run_groups(towers["embed.text"], clip.tokenize(raw["caption"][at : at + 64]), clip.settings["trim"])
                nsfw = towers["nsfw.image"](prepare(images))[:, 1]
                kept.append((image, text, (image * text).sum(1), nsfw, [of_pixels(pixels) for pixels in images]))

    return work


def _table(result: dict[str, Any]) -> str:
    lines = [f"engines, rows a second of one thread (chosen in {result['choosing_s']} s)"]
    lines += engine_lines(result["engines"], result["rates"])
    lines.append("pairs a second, all scorers       ours     bare    ratio")
    for count in (1, 2):
        ours, bare, ratio = (result[f"{name}_{count}"] for name in ("ours", "bare", "ratio"))
        lines.append(f"  processes: {count}                {ours:8.1f} {bare:8.1f} {ratio:8.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
