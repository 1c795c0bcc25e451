"""How the main job grows with the number of pairs: time, CPU time, memory and requests of each step, the exponent of each, and a plot.

    python -m tests.bench.growth --pairs 10000 --pairs 100000 --pairs 1000000 --folder DIR --into infra/growth.json
    python -m tests.bench.growth --into infra/growth.json --plot infra/growth.svg
    python -m tests.bench.growth --pairs 100 --pairs 1500 --photos --into infra/photos.json

Pairs are small JPEGs (1 to 3 KB), all different but for a twentieth that repeats another's bytes and a twentieth that nearly does, served by a
loopback web. Each step is a command of its own, so that its time, its processes' CPU time and their peak memory are its own: fetch, score (the
scorer `image`), select (column functions, exact and near duplicates), shard, publish with its gates. `start-up` is the same on START_UP pairs: what
a command costs whatever it does; the exponents of `net` are of times without it. Every row must end with a verdict, and what was planted be found.

--photos: pictures of about 75 KB and 0.7 megapixels, all scorers of the bare command, shards as it makes them (512 pixels): what infra/sizing.py
counts with.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas.pool import Pool
from schemas.release import Release, latest
from tests.bench.small_pairs import EVERY, PHOTO, make_pictures, web, write_source
from tests.bench.watched import watched

STEPS: Final = ("fetch", "score", "select", "shard", "publish")
START_UP: Final = 100  # pairs
_TELLS: Final = 1.5  # times start-up: what took less says more of the machine's noise than of pairs
UNIT: Final = 1_000  # rows; a tenth of the default, so that 10,000 pairs too give both processes work
POLICY: Final = """
name = "growth"
similarity = "image.sharpness"
[duplicates]
exact = true
near = true
[[rule]]
column = "license.class"
not_in = ["proprietary", "unknown"]
reason = "license:not_allowed"
[[rule]]
column = "caption.words"
min = 3
reason = "caption:too_short"
[[rule]]
column = "image.smallest_side"
min = 64
reason = "image:too_small"
[[rule]]
column = "image.aspect"
max = 3.0
reason = "image:aspect"
"""


def commands(folder: Path, *, photos: bool = False) -> dict[str, list[str]]:
    """Each step's command."""
    job = [sys.executable, "-m", "pipelines.ingest", "--runner", "DirectRunner", "--dataset", str(folder / "data")]
    fetch = ["--source", str(folder / "pairs.parquet"), "--unit_size", str(UNIT), "--allow_private_hosts", "--connections_per_host", "128"]
    scorers = [] if photos else ["--scorers", "image"]
    release = ["--policy", str(folder / "growth.toml"), *([] if photos else ["--image_format", "original", "--resize_mode", "no"])]
    return {
        "fetch": [*job, *fetch, "--stop_after", "fetch"],
        "score": [*job, "--start_at", "score", "--stop_after", "score", *scorers],
        "select": [*job, "--start_at", "select", "--stop_after", "select", *release],
        "shard": [*job, "--start_at", "shard", "--stop_after", "shard", *release],
        "publish": [sys.executable, "-m", "pipelines.publish", "--dataset", str(folder / "data")],
    }


def grown(folder: Path, count: int, *, photos: bool = False) -> dict[str, Any]:
    """What `count` pairs took: {"pairs", "steps": {step: {"wall_s", "cpu_s", "peak_mb"}}, "requests", "kept", …}. Removes what it made."""
    folder.mkdir(parents=True)
    temporary = folder / "tmp"
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}
    make_pictures(folder, count, PHOTO if photos else None)
    picture_bytes = (folder / "pictures.bin").stat().st_size
    (folder / "growth.toml").write_text(POLICY)
    steps: dict[str, dict[str, float]] = {}
    with web(folder) as (start, given):
        write_source(folder / "pairs.parquet", start, count)
        for step, command in commands(folder, photos=photos).items():
            usage = watched(command, log=folder / f"{step}.log", env=env)
            steps[step] = {"wall_s": round(usage.wall_s, 2), "cpu_s": round(usage.cpu_s, 2), "peak_mb": round(usage.peak_bytes / 1e6)}
            print(f"{count:>9,} {step:8}{usage.wall_s:>9.1f} s {usage.cpu_s:>9.1f} CPU s {usage.peak_bytes / 1e6:>8,.0f} MB", flush=True)
        requests = given.value
    found = _checked(folder / "data", count)
    sizes = {name: _bytes_below(folder / "data" / path) for name, path in _STORED.items()}
    shutil.rmtree(folder)
    return {"pairs": count, "steps": steps, "requests": requests, "picture_bytes": picture_bytes, **found, "stored_bytes": sizes}


_STORED: Final = {"raw": "pool/raw", "requests": "pool/requests", "scores": "pool/scores", "releases": "releases"}


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _checked(dataset: Path, count: int) -> dict[str, Any]:
    """What became of the pairs. Raises RuntimeError where one is missing, or a planted duplicate was not found."""
    pool = Pool(dataset)
    name = latest(pool.store)
    assert name is not None, "publish names the newest release"
    release = Release(pool.store, name)
    manifest = release.manifest()
    assert manifest is not None
    decided = list(release.decided())
    kept = sum(unit.keep for unit in decided)
    ended = sum(unit.rows for unit in decided)
    reasons: dict[str, int] = {}
    for unit in decided:
        for reason, number in unit.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + number
    sharded = sum(shard.count for shard in release.shards())
    if ended != count or sharded != kept or kept + sum(unit.drop + unit.review for unit in decided) != count:
        raise RuntimeError(f"{count} pairs in, {ended} decided, {kept} kept, {sharded} in shards")
    if reasons.get("duplicate:exact", 0) != count // EVERY or reasons.get("duplicate:near", 0) < 0.9 * (count // EVERY):
        raise RuntimeError(f"{count // EVERY} duplicates of each kind were planted; found {reasons}")
    return {"kept": kept, "reasons": dict(sorted(reasons.items()))}


def exponent(pairs: Sequence[float], seconds: Sequence[float]) -> float:
    """b of seconds = a * pairs ** b, by least squares of the logarithms."""
    return float(np.polyfit(np.log(pairs), np.log(seconds), 1)[0])


def exponents(runs: Sequence[Mapping[str, Any]], start_up: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """{step or "all": {"wall_s", "wall_s net", "cpu_s", "cpu_s net": exponent}}.

    net: without what START_UP pairs took, of the runs that took enough more; None where these are fewer than two.
    """
    pairs = [run["pairs"] for run in runs]
    found: dict[str, dict[str, float | None]] = {}
    for step in (*STEPS, "all"):
        found[step] = {}
        for what in ("wall_s", "cpu_s"):
            gross, idle = [taken(run, step, what) for run in runs], taken(start_up, step, what)
            found[step][what] = exponent(pairs, gross)
            told = [(count, seconds - idle) for count, seconds in zip(pairs, gross, strict=True) if seconds > _TELLS * idle]
            found[step][f"{what} net"] = exponent(*zip(*told, strict=True)) if len(told) > 1 else None
    return found


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def taken(run: Mapping[str, Any], step: str, what: str) -> float:
    return sum(run["steps"][name][what] for name in (STEPS if step == "all" else (step,)))


def table(runs: Sequence[Mapping[str, Any]], start_up: Mapping[str, Any]) -> str:
    """The figures of all runs, and the exponents, as text."""
    lines = [f"{'pairs':>10} {'step':8}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}{'CPU us a pair':>15}"]
    for run in (start_up, *runs):
        for step in (*STEPS, "all"):
            wall, cpu = taken(run, step, "wall_s"), taken(run, step, "cpu_s")
            peak = max(run["steps"][name]["peak_mb"] for name in (STEPS if step == "all" else (step,)))
            lines.append(f"{run['pairs']:>10,} {step:8}{wall:>10.1f}{cpu:>10.1f}{peak:>10,.0f}{1e6 * cpu / run['pairs']:>15,.0f}")
    if len(runs) > 1:
        found = exponents(runs, start_up)
        lines += [
            "",
            f"exponent from {runs[0]['pairs']:,} to {runs[-1]['pairs']:,} pairs",
            f"{'':10}" + "".join(f"{what:>14}" for what in found["all"]),
        ]
        lines += [f"{step:10}" + "".join(f"{_shown(value):>14}" for value in values.values()) for step, values in found.items()]
    return "\n".join(lines)


def plot(runs: Sequence[Mapping[str, Any]], start_up: Mapping[str, Any], path: Path) -> None:
    """CPU and wall time over pairs, both logarithmic, beside a line of exponent 1; and peak memory."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    matplotlib.rcParams |= {"svg.hashsalt": "pigment", "svg.fonttype": "none"}  # the same bytes again, and few
    from matplotlib import pyplot

    pairs = [run["pairs"] for run in runs]
    found = exponents(runs, start_up)
    figure, panels = pyplot.subplots(1, 3, figsize=(13, 5.2), layout="constrained")
    for panel, what, name in zip(panels, ("wall_s", "cpu_s"), ("wall time", "CPU time of all processes"), strict=False):
        for step in ("all", *STEPS):
            seconds = [taken(run, step, what) for run in runs]
            style = {"color": "black", "linewidth": 2} if step == "all" else {"linewidth": 1.2}
            panel.loglog(
                pairs, seconds, marker="o", label=f"{step}: {_shown(found[step][what])} (net {_shown(found[step][what + ' net'])})", **style
            )
        whole = [taken(run, "all", what) for run in runs]
        panel.loglog(pairs, [whole[-1] * count / pairs[-1] for count in pairs], "k:", linewidth=1, label="exponent 1")
        panel.set(title=f"{name}, s", xlabel="pairs")
        panel.legend(title="exponent", fontsize=8, title_fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2)
    for step in STEPS:
        panels[2].semilogx(pairs, [run["steps"][step]["peak_mb"] / 1e3 for run in runs], marker="o", label=step)
    panels[2].set(title="peak memory of all processes (PSS), GB", xlabel="pairs", ylim=(0, None))
    panels[2].legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2)
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, action="append", default=[], help="run with so many; can be given again")
    parser.add_argument("--folder", help="where pictures and datasets go meanwhile, 9 KB a pair (default: the folder for temporary files)")
    parser.add_argument("--into", type=Path, required=True, help="JSON of all runs; a run of equal size is replaced")
    parser.add_argument("--photos", action="store_true", help="large pictures and all scorers")
    parser.add_argument("--plot", type=Path, help=".svg or .png")
    args = parser.parse_args()
    known = json.loads(args.into.read_text()) if args.into.exists() else {"runs": []}
    with tempfile.TemporaryDirectory(prefix="pigment-bench-", dir=args.folder) as name:
        for count in args.pairs:
            run = grown(Path(name) / str(count), count, photos=args.photos)
            known["runs"] = sorted([run, *(other for other in known["runs"] if other["pairs"] != count)], key=lambda run: run["pairs"])
            args.into.write_text(json.dumps(known, indent=1) + "\n")
    start_up = next((run for run in known["runs"] if run["pairs"] == START_UP), None)
    if start_up is None:
        sys.exit(f"start-up is not measured yet: --pairs {START_UP}")
    runs = [run for run in known["runs"] if run["pairs"] > START_UP]
    print(table(runs, start_up))
    if args.plot:
        plot(runs, start_up, args.plot)


if __name__ == "__main__":
    main()
