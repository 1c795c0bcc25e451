"""Whether curation pays: `training.compare` on what a corpus is by nature, and on the same with junk planted in it.

    python -m tests.bench.curation --corpus pigment-corpus --out DIR [--pairs 6000] [--share 0.5] [--steps 300] [--seeds 3] [--part natural]

Pairs are colour drawings of the train split. Junk makes up `--share` of the planted set: for five eighths of it a drawing has the caption of
another concept's (`mismatch`), for three eighths a drawing is saved again as a JPEG with the same caption (`copy`). One pool holds all of it
and is scored once; four releases are selected from it:

    natural-raw      what was not planted, all of it        natural-curated   the same by the policy `embedded`
    planted-raw      that and the junk, all of it           planted-curated   the same by the policy `embedded`

The policy is the packaged one with `near = true`: a copy saved again is no equal picture.

Each raw one is compared with its curated one on drawings of the held-out split, which no rule has looked at. The base has seen the natural
drawings before: this asks what more of them, or of junk, makes of it. What is done stays: the same command goes on.
"""

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.pool import Pool
from schemas.release import Release
from training.base.data import colour_drawings
from training.clip.prepare import Pair, read_corpus
from training.clip.towers import on_background, opened
from training.splits import concept_of_title

MISMATCHED: Final = 5 / 8  # of the junk; the rest are copies
QUALITY: Final = 70  # of the JPEGs that copies are saved as
HELD_OUT: Final = 600  # pairs that are measured on are drawn from so many
PARTS: Final = {"natural": ("none",), "planted": ("none", "mismatch", "copy")}
RULE: Final = '\n[[rule]]\ncolumn = "{column}"\nin = {values}\nreason = "id:not_in_list"\noverrule = false\n'
RAW: Final = 'name = "{name}"\n[duplicates]\nexact = false\n'


def planted(drawings: Sequence[Pair], pairs: int, share: float) -> Iterator[tuple[str, Pair, str]]:
    """(kind, the pair whose drawing it is, caption): the first `pairs` as they are, and junk that makes up `share` of all. Mismatched drawings
    are others: with one of `pairs`, they would go as its duplicates, whatever their captions say."""
    yield from (("none", pair, pair.caption) for pair in drawings[:pairs])
    junk = round(pairs * share / (1 - share))
    mismatched = drawings[pairs : pairs + round(junk * MISMATCHED)]
    if pairs + round(junk * MISMATCHED) > len(drawings):
        raise SystemExit(f"the corpus has {len(drawings):,} drawings: take fewer --pairs, or a smaller --share")
    for number, pair in enumerate(mismatched):
        others = islice(cycle(mismatched), number + 1, None)
        yield "mismatch", pair, next(other.caption for other in others if _apart(pair, other))
    yield from (("copy", pair, pair.caption) for pair in islice(cycle(drawings[:pairs]), junk - len(mismatched)))


def _apart(pair: Pair, other: Pair) -> bool:
    return pair.concept != other.concept and concept_of_title(pair.caption) != concept_of_title(other.caption)


def write_source(corpus: Path, folder: Path, pairs: int, share: float) -> Counter[str]:
    """A folder that `pipelines.ingest` takes as a source: images and metadata.parquet. Returns rows by kind."""
    told = {row["file_name"]: row for row in pq.read_table(corpus / "metadata.parquet").to_pylist()}
    known = read_corpus(corpus)

    def shuffled(split: str) -> list[Pair]:
        return sorted(colour_drawings(known, split=split), key=lambda pair: hashlib.sha256(pair.file.encode()).digest())

    rows: list[dict[str, Any]] = []
    of_split = [("train", row) for row in planted(shuffled("train"), pairs, share)]
    of_split += [("heldout", ("none", pair, pair.caption)) for pair in shuffled("heldout")[:HELD_OUT]]
    for number, (split, (kind, pair, caption)) in enumerate(of_split):
        name = f"images/{number:06d}{'.jpg' if kind == 'copy' else Path(pair.file).suffix}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "copy":
            out = io.BytesIO()
            on_background(opened(corpus / pair.file)).save(out, "jpeg", quality=QUALITY)
            path.write_bytes(out.getvalue())
        else:
            shutil.copyfile(corpus / pair.file, path)
        row = told[pair.file]
        kept = {column: row[column] for column in ("license", "license_url", "creator", "title", "source_page", "source_id", "collection")}
        rows.append({"file_name": name, "caption": caption, **kept, "part": split, "planted": kind})
    pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")
    return Counter(row["planted"] for row in rows if row["part"] == "train")


def write_policies(folder: Path) -> dict[str, Path]:
    """The policy of each release, and of the pairs that are measured on, by the release's name."""
    folder.mkdir(parents=True, exist_ok=True)
    packaged = (files("quality.policies") / "embedded.toml").read_text("utf-8").replace("near = false", "near = true")
    found = {"heldout": RAW.format(name="heldout") + RULE.format(column="part", values='["heldout"]')}
    for part, kinds in PARTS.items():
        rules = RULE.format(column="part", values='["train"]') + RULE.format(column="planted", values=json.dumps(kinds))
        found[f"{part}-raw"] = RAW.format(name=f"{part}-raw") + rules
        found[f"{part}-curated"] = packaged + rules
    for name, text in found.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return {name: folder / f"{name}.toml" for name in found}


def ended_as(dataset: Path, release: str, part: str) -> dict[str, dict[str, int]]:
    """Verdicts by kind of row, of what the part is made of."""
    pool, found = Pool(dataset), dict[str, Counter[str]]()
    of = Release(pool.store, release)
    for decided in of.decided():
        raw, decisions = pool.read_raw(decided.unit, ["part", "planted"]), of.read_decisions(decided.unit)
        rows = zip(raw["part"].to_pylist(), raw["planted"].to_pylist(), decisions["verdict"].to_pylist(), strict=True)
        for split, kind, verdict in rows:
            if split == "train" and kind in PARTS[part]:
                found.setdefault(kind, Counter())[verdict] += 1
    return {kind: dict(counts) for kind, counts in found.items()}


def run(*words: str | float | Path) -> None:
    subprocess.run([sys.executable, "-m", *map(str, words)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("pigment-corpus"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=6000, help="that are not planted (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.5, help="of junk in the planted set (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=200, help="held-out pairs (default: %(default)s)")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: both")
    args = parser.parse_args()
    source, dataset = args.out / "source", args.out / "data"
    if not (source / "metadata.parquet").is_file():
        print(f"rows: {dict(write_source(args.corpus, source, args.pairs, args.share))}", flush=True)
    policies = write_policies(args.out / "policies")
    run("pipelines.ingest", "--dataset", dataset, "--source", source, "--stop_after", "score")
    for name, policy in policies.items():
        small = ["--image_size", "128", "--image_format", "png"]
        run("pipelines.ingest", "--dataset", dataset, "--start_at", "select", "--policy", policy, "--release", name, *small)
    for part in args.part or PARTS:
        print(f"{part}, by the policy: {json.dumps(ended_as(dataset, f'{part}-curated', part))}", flush=True)
        releases = [dataset / "releases" / f"{part}-{kind}" for kind in ("raw", "curated")]
        run(
            "training.compare", "--releases", *releases, "--reference", dataset / "releases" / "heldout", "--out", args.out / part,
            "--steps", args.steps, "--seeds", args.seeds, "--count", args.count, "--split", "any",
            "--learning_rate", 2e-4, "--batch", 16, "--ema", 0.98, "--warmup", 20, "--sample_every", 0, "--measure_every", 0,
        )  # fmt: skip


if __name__ == "__main__":
    main()
