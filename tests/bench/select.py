"""Select at scale: policy and exact duplicates over stored rows, against DuckDB and pandas doing the same reading and writing.

    python -m tests.bench.select [--rows 10000000] [--units 1000] [--json] [--keep DIR]

Rows are synthetic and lie in the pool's real layout (embeddings left out: select never reads them), a tenth of them equal to another.
Ours is SelectPairs on the pinned runner in two processes, with the start of Beam and its workers shown apart (a run over one empty unit).
The peers read the same Parquet columns, apply the same bounds, find equal uids, equal bytes and equal PDQ with caption, and write one file
a unit. `ratio` is our rate over DuckDB's; `over_pandas` over pandas'.
"""

import argparse
import hashlib
import json
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from quality.rules import Rules
from quality.selection import plan_selection
from schemas.columns import RAW
from schemas.policy import Policy, parse_policy
from schemas.pool import Pool
from schemas.release import Release
from schemas.units import SourceFile, unit_name
from tests.pools import FILE, PASS, SCORES

POLICY = """
name = "bench"
[[rule]]
column = "license.class"
not_in = ["proprietary", "unknown"]
reason = "license:not_allowed"
[[rule]]
column = "caption.words"
min = 2
reason = "caption:too_short"
[[rule]]
column = "image.width"
min = 64
reason = "image:too_small"
[[rule]]
column = "nsfw.open_nsfw"
max = 0.5
do = "review"
reason = "nsfw:possible"
[[rule]]
column = "clip.similarity"
scorer = "clip:pigment-embedded"
min = 0.2
reason = "clip:low_similarity"
"""
WORDS = np.array(
    [
        "a",
        "red",
        "blue",
        "green",
        "old",
        "small",
        "large",
        "cat",
        "dog",
        "house",
        "tree",
        "river",
        "mountain",
        "photo",
        "drawing",
        "of",
        "with",
        "in",
        "the",
        "on",
        "sky",
        "city",
        "bird",
    ]
)
LICENSES = [
    "https://creativecommons.org/licenses/by/4.0/",
    "https://creativecommons.org/licenses/by-nc/2.0/",
    "https://opensource.org/license/mit",
    None,
]


def make_unit(job: tuple[str, int, int]) -> None:
    """One unit of synthetic rows, a tenth of which repeat a picture of a common stock."""
    root, chunk, rows = job
    rng = np.random.default_rng(chunk)
    pool = Pool(root)
    ids = np.where(rng.random(rows) < 0.1, rng.integers(0, 1_000_000, rows), 10**9 + chunk * rows + np.arange(rows))
    digests = [hashlib.sha256(int(number).to_bytes(8, "big")).digest() for number in ids]
    words = WORDS[rng.integers(0, len(WORDS), (rows, 8))]
    captions = [" ".join(line[: 1 + number % 8]) for line, number in zip(words, ids, strict=True)]
    places = [f"http://host{number % 997}.test/images/{chunk}/{row}.jpg" for row, number in enumerate(ids)]
    uids = [hashlib.sha256(f"{place} {caption}".encode()).hexdigest()[:32] for place, caption in zip(places, captions, strict=True)]
    ok = rng.random(rows) < 0.9
    width = np.where(ok, rng.integers(50, 2000, rows), 0).astype(np.int32)

    def where_ok(values, type_: pa.DataType) -> pa.Array:
        return (
            pa.array(values, type_, mask=~ok)
            if isinstance(values, np.ndarray)
            else pa.array([v if k else None for v, k in zip(values, ok, strict=True)], type_)
        )

    number = np.arange(rows)
    columns = {name: pa.nulls(rows, RAW.field(name).type) for name in RAW.names}
    columns |= {
        "row": pa.array(number.astype(np.int32)), "uid": pa.array(uids), "key": pa.array([f"{n:06d}" for n in number]), "url": pa.array(places),
        "caption": pa.array(captions), "status": pa.array(np.where(ok, "success", "failed_to_download")),
        "error_message": pa.array([None if k else "http_404" for k in ok], pa.string()), "width": where_ok(width, pa.int32()),
        "height": where_ok(width, pa.int32()), "original_width": where_ok(width, pa.int32()), "original_height": where_ok(width, pa.int32()),
        "format": pa.array(["jpeg" if k else None for k in ok]), "sha256": where_ok([d.hex() for d in digests], pa.string()),
        "offset": where_ok(number * 75_000, pa.int64()), "size": where_ok(number + 60_000, pa.int64()), "final_url": pa.array(places),
        "license_url": pa.array(LICENSES, pa.string()).take(pa.array(ids % 4)), "source_line": pa.array(number + 1, pa.int64()),
    }  # fmt: skip
    pool.commit(unit_name(FILE, chunk), pa.table(columns, schema=RAW), tar=None, input_digest="bench")
    commit = pool.raw_commit(unit_name(FILE, chunk))
    scores = {
        "clip.similarity": where_ok(np.round(rng.normal(0.27, 0.06, rows), 4).astype(np.float32), pa.float32()),
        "nsfw.open_nsfw": where_ok(np.round(rng.beta(1, 12, rows), 4).astype(np.float32), pa.float32()),
        "image.width": where_ok(width, pa.int32()), "image.height": where_ok(width, pa.int32()),
        "image.pdq": where_ok(digests, pa.binary(32)), "image.pdq_quality": where_ok(rng.integers(0, 101, rows).astype(np.int32), pa.int32()),
        "image.thumbnail": where_ok([d * 6 for d in digests], pa.binary(192)), "image.error": pa.nulls(rows, pa.string()),
    }  # fmt: skip
    pool.commit_scores(PASS.name, unit_name(FILE, chunk), pa.table(scores, schema=SCORES), input_digest=commit.content_digest)


def make_pool(root: Path, rows: int, units: int, make: Callable[[tuple[str, int, int]], None] = make_unit) -> Pool:
    """The synthetic pool; made with all cores, outside the clock. make: commits one unit; (root, chunk, rows)."""
    pool = Pool(root)
    each = rows // units
    starts = tuple(range(0, rows, each))
    pool.put_file(SourceFile(FILE, str(root), "pairs.parquet", "rows", 1, "digest", rows, each, starts, starts))
    pool.put_pass(PASS)
    with multiprocessing.get_context("spawn").Pool() as workers:
        for _ in workers.imap_unordered(make, [(str(root), chunk, each) for chunk in range(units)], chunksize=4):
            pass
    return pool


def ours(root: str, release: str, units: list[str], more: str = "") -> None:
    """SelectPairs through the launcher's own runner, two processes. more: TOML that the policy has too."""
    import apache_beam as beam

    from pipelines.run import run_graph
    from pipelines.steps.select_pairs import SelectPairs

    pool, policy = Pool(root), policy_of(more)
    rules, plan = Rules(policy), plan_selection(pool, sorted(pool.committed()), policy)
    rows = sum(commit.rows for unit in units if (commit := pool.raw_commit(unit)) is not None)

    def graph(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create(units) | SelectPairs(pool, Release(pool.store, release), rules, plan, rows=rows)

    run_graph(graph, runner="DirectRunner", mode="multi_processing", workers=2, shuffles=True)


def policy_of(more: str = "") -> Policy:
    return parse_policy(POLICY + more, where="bench")


_ALLOWED = (
    "https://creativecommons.org/licenses/by/4.0/",
    "https://creativecommons.org/licenses/by-nc/2.0/",
    "https://opensource.org/license/mit",
)


def duckdb_select(root: str, out: str) -> None:
    """The same in one DuckDB query and a COPY for each unit's rows (PARTITION_BY writes a folder a unit)."""
    import duckdb

    db = duckdb.connect()
    db.execute("set threads = 2; set preserve_insertion_order = false; set memory_limit = '12GB'")
    raw, scores = f"{root}/pool/raw/*.parquet", f"{root}/pool/scores/{PASS.name}/*.parquet"
    allowed = ", ".join(f"'{url}'" for url in _ALLOWED)
    # Rows of the two files of a unit belong together by place: file_row_number joins them.
    db.execute(f"""
        create table t as
        with raw as (select parse_filename(filename, true) as unit, file_row_number as n, uid, status, error_message, caption, license_url, sha256
                     from read_parquet('{raw}', filename = true, file_row_number = true)),
        s as (select parse_filename(filename, true) as unit, file_row_number as n, "clip.similarity" as sim, "nsfw.open_nsfw" as nsfw,
                     "image.width" as w, "image.height" as h, "image.pdq" as pdq, "image.pdq_quality" as q
              from read_parquet('{scores}', filename = true, file_row_number = true)),
        j as (select *, status = 'success' as ok, len(string_split(caption, ' ')) as words,
                     coalesce(license_url in ({allowed}), false) as licensed from raw join s using (unit, n)),
        r as (select *, (not ok or not licensed or words < 2 or w < 64 or coalesce(sim < 0.2, true)) as gone, nsfw > 0.5 as doubt from j),
        d as (select *,
            case when gone then 1 else row_number() over (partition by gone, uid order by unit, n) end as n1,
            case when gone then 1 else row_number() over (partition by gone, sha256 order by doubt, w * h desc, sim desc, uid, unit, n) end as n2,
            case when gone or q < 50 then 1 else row_number() over (partition by gone or q < 50, pdq, lower(trim(caption))
                 order by doubt, w * h desc, sim desc, uid, unit, n) end as n3 from r)
        select unit, n, uid, case when gone or n1 > 1 or n2 > 1 or n3 > 1 then 'drop' when doubt then 'review' else 'keep' end as verdict,
            list_filter([case when not ok then 'fetch:failed_to_download' end, case when ok and not licensed then 'license:not_allowed' end,
                case when ok and words < 2 then 'caption:too_short' end, case when w < 64 then 'image:too_small' end,
                case when doubt then 'nsfw:possible' end, case when sim < 0.2 then 'clip:low_similarity' end, case when n1 > 1 then 'duplicate:pair' end,
                case when n2 > 1 then 'duplicate:exact' end, case when n3 > 1 then 'duplicate:picture' end], lambda x: x is not null) as reasons,
            error_message as error, license_url, words, w, nsfw, sim from d""")
    db.execute(f"copy (select * from t order by unit, n) to '{out}' (format parquet, compression zstd, partition_by (unit))")


def pandas_select(root: str, out: str) -> None:
    """The same with pandas, a frame of all rows."""
    import pandas as pd
    import pyarrow.parquet as pq

    raw_columns = ["uid", "status", "error_message", "caption", "license_url", "sha256"]
    score_columns = ["clip.similarity", "nsfw.open_nsfw", "image.width", "image.height", "image.pdq", "image.pdq_quality"]
    frames = []
    for path in sorted(Path(root, "pool/raw").glob("*.parquet")):
        raw = pq.read_table(path, columns=raw_columns).to_pandas()
        frame = pd.concat([raw, pq.read_table(Path(root, "pool/scores", PASS.name, path.name), columns=score_columns).to_pandas()], axis=1)
        frame["unit"], frame["n"] = path.stem, range(len(frame))
        frames.append(frame)
    t = pd.concat(frames, ignore_index=True)
    ok = t["status"] == "success"
    words = t["caption"].str.split(" ").str.len()
    licensed = t["license_url"].isin(_ALLOWED)
    tests = {
        "fetch:failed_to_download": ~ok, "license:not_allowed": ok & ~licensed, "caption:too_short": ok & (words < 2),
        "image:too_small": t["image.width"] < 64, "clip:low_similarity": ok & ~(t["clip.similarity"] >= 0.2),
    }  # fmt: skip
    gone = np.logical_or.reduce([test.to_numpy() for test in tests.values()])
    t["doubt"], t["pixels"] = t["nsfw.open_nsfw"] > 0.5, -t["image.width"] * t["image.height"]
    t["sim"], t["text"] = -t["clip.similarity"], t["caption"].str.strip().str.lower()
    alive = t[~gone]
    lost = alive.sort_values(["unit", "n"]).duplicated("uid")
    ranked = alive.sort_values(["doubt", "pixels", "sim", "uid", "unit", "n"])
    same = ranked.duplicated("sha256")
    pictured = ranked[ranked["image.pdq_quality"] >= 50]
    alike = pictured.duplicated(["image.pdq", "text"])
    for name, losers in (("duplicate:pair", lost), ("duplicate:exact", same), ("duplicate:picture", alike)):
        tests[name] = losers.reindex(t.index, fill_value=False)
    tests["nsfw:possible"] = t["doubt"]
    dropped = np.logical_or.reduce([test.to_numpy(bool) for name, test in tests.items() if name != "nsfw:possible"])
    t["verdict"] = np.where(dropped, "drop", np.where(t["doubt"], "review", "keep"))
    codes = sum(test.to_numpy(bool).astype(np.int64) << bit for bit, test in enumerate(tests.values()))
    names = {int(code): [name for bit, name in enumerate(tests) if int(code) >> bit & 1] for code in np.unique(codes)}
    t["reasons"] = pd.Series(codes, index=t.index).map(names)
    t["words"] = words
    Path(out).mkdir()
    kept = ["n", "uid", "verdict", "reasons", "error_message", "license_url", "words", "image.width", "nsfw.open_nsfw", "clip.similarity"]
    for unit, frame in t.groupby("unit", sort=False):
        frame[kept].to_parquet(f"{out}/{unit}.parquet", compression="zstd", index=False)


def timed(work: Callable, *args) -> tuple[float, float]:
    """(seconds, peak GB of the process and all below it) of a function in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=args)
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            try:
                root = psutil.Process(process.pid)
                memory = sum(each.memory_info().rss - each.memory_info().shared for each in [root, *root.children(recursive=True)])
                peak[0] = max(peak[0], memory / 1e9)
            except psutil.Error:
                continue

    start = time.perf_counter()
    process.start()
    watcher = threading.Thread(target=watch)
    watcher.start()
    process.join()
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} failed")
    return seconds, peak[0]


def nothing() -> None:
    """The cost of a fresh interpreter with this module's imports."""


def show(figures: dict[str, float], *, as_json: bool) -> None:
    """Prints the figures, a line each or one line of JSON."""
    if as_json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    else:
        for name, value in figures.items():
            print(f"{name:<16}{value:>14,.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", help="folder for the pool, used again when it is there")
    parser.add_argument("--peers", default="duckdb,pandas")
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="pigment-bench-"))
    pool = Pool(folder) if (folder / "pool").is_dir() else make_pool(folder, args.rows, args.units)
    units = sorted(pool.committed())
    try:
        bare, _ = timed(nothing)
        start_up, _ = timed(ours, str(folder), "start-up", units[:1])
        shutil.rmtree(folder / "releases", ignore_errors=True)
        whole, memory = timed(ours, str(folder), "bench", units)
        figures: dict[str, float] = {"rows": args.rows, "start_up_s": start_up, "ours_s": whole - start_up, "ours_peak_gb": memory}
        for name, work in (("duckdb", duckdb_select), ("pandas", pandas_select)):
            if name in args.peers.split(","):
                out = folder / f"{name}-out"
                shutil.rmtree(out, ignore_errors=True)
                seconds, memory = timed(work, str(folder), str(out))
                figures |= {f"{name}_s": seconds - bare, f"{name}_peak_gb": memory}
        if "duckdb_s" in figures:
            figures["ratio"] = figures["duckdb_s"] / figures["ours_s"]
        if "pandas_s" in figures:
            figures["over_pandas"] = figures["pandas_s"] / figures["ours_s"]
        show(figures, as_json=args.json)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
