"""Trust scorers: what they cost beside CLIP, all given one shared decode.

    python -m tests.bench.trust [--json] [--pairs N]

The pairs are photographs of packages as JPEGs of about 75 kB, of a width that watermarks have (so that they are looked for), and drawings of
the sample, in equal parts; photographs signed with C2PA are shown apart. Each scorer's CPU time for pairs that are decoded already is held
against that of `embed` with ViT-B/32 (random weights) in its fastest engine here, captions included. One thread; the best of three rounds.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from quality.scorers import ScorerError, make_scorers
from quality.scorers.batch import CHUNK_ROWS, SIDE, PairBatch
from quality.scorers.probe import CAPTIONS
from quality.scorers.protocol import Scorer, in_order
from tests.bench.engines import fastest
from tests.bench.engines import lines as engine_lines
from tests.scoring import Pair, random_clip, sample_pairs
from tests.trust.changes import photographs
from tests.trust.made import signed

TRUST = ("image", "faces", "evidence", "deepfake")
MOST = 0.15  # of the time of ViT-B/32
ROUNDS = 3
JPEG_BYTES = 75_000
MIXED = ("photographs", "drawings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument("--pairs", type=int, default=48, help="of each kind (default: %(default)s)")
    args = parser.parse_args()
    cv2.setNumThreads(1)

    names, absent = _present(TRUST)
    kinds = {kind: pairs for kind, pairs in _pairs(args.pairs).items() if pairs}
    result: dict[str, Any] = {"measured": names, "absent": absent, "pairs": {}, "ms": {}, "engines": {}, "rates": {}}
    with tempfile.TemporaryDirectory() as folder:
        scorers: dict[str, Scorer] = dict(zip(names, make_scorers(names), strict=True))
        clips = {"ViT-B/32": _vit(Path(folder)), "embedded": None}
        for label, model in clips.items():
            options: dict[str, Any] = {"cache": Path(folder)} if model is None else {"cache": Path(folder), "model": model}
            result["engines"][label], result["rates"][label] = fastest(make_scorers(["embed"], **options))
            (scorers[label],) = make_scorers(["embed"], engines=result["engines"][label], **options)
        for scorer in scorers.values():
            scorer.load()
        for kind, pairs in kinds.items():
            result["pairs"][kind] = {"count": len(pairs), "kB": round(sum(len(data or b"") for _, data in pairs) / len(pairs) / 1000, 1)}
            result["ms"][kind] = _milliseconds(scorers, names, pairs)
    mixed = [result["ms"][kind] for kind in MIXED if kind in result["ms"]]
    result["ms"]["mixed"] = {name: sum(one[name] for one in mixed) / len(mixed) for name in mixed[0]}
    result["share"] = {
        label: {kind: round(sum(ms[name] for name in names) / ms[label], 3) for kind, ms in result["ms"].items()} for label in clips
    }
    print(json.dumps(result) if args.json else _table(result))
    sys.exit(0 if result["share"]["ViT-B/32"]["mixed"] <= MOST else 1)


def _present(wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(names of scorers that there are, why the others are not)."""
    names, absent = [], {}
    for name in wanted:
        try:
            make_scorers([name])
            names.append(name)
        except ScorerError as error:
            absent[name] = str(error)
    return names, absent


def _vit(folder: Path) -> str:
    import open_clip

    image = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    return random_clip("ViT-B-32", folder / "vit", {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": image})


def _pairs(count: int) -> dict[str, list[Pair]]:
    """By kind; no photographs where none is installed."""
    made = [_jpeg(image) for image in photographs()[:count]]
    photographed = [(CAPTIONS[row % len(CAPTIONS)], made[row % len(made)]) for row in range(count)] if made else []
    return {
        "photographs": photographed,
        "drawings": sample_pairs(count),
        "C2PA signed": [(caption, signed(data, "image/jpeg")) for caption, data in photographed[: len(made)] if data is not None],
    }


def _jpeg(image: Any) -> bytes:
    """Of quality 85 and at most JPEG_BYTES, as large as it may be, but not enlarged; both sides multiples of 8."""
    for longest in range(1280, 200, -64):
        factor = min(1, longest / max(image.shape[:2]))
        width, height = (round(length * factor) // 8 * 8 for length in (image.shape[1], image.shape[0]))
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        if len(data) <= JPEG_BYTES:
            break
    return data


def _milliseconds(scorers: dict[str, Scorer], trust: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
    """CPU milliseconds a pair, by scorer; and of decoding, which is shared and no scorer's."""
    batches = [PairBatch(*zip(*pairs[at : at + CHUNK_ROWS], strict=True)) for at in range(0, len(pairs), CHUNK_ROWS)]
    begin = time.process_time()
    for batch in batches:
        batch.pixels(side=SIDE)
    found = {"decoding": (time.process_time() - begin) * 1000 / len(pairs)}
    ordered = in_order([scorers[name] for name in trust], stored=set())
    for label, scorer in [*((one.name, one) for one in ordered), *((name, one) for name, one in scorers.items() if name not in trust)]:
        took = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            scored = [scorer.score(batch) for batch in batches]
            took.append(time.process_time() - begin)
        if label in trust:
            for batch, columns in zip(batches, scored, strict=True):
                batch.add_columns({f"{label}.{name}": columns.column(name) for name in columns.schema.names})
        found[label] = min(took) * 1000 / len(pairs)
    return found


def _table(result: dict[str, Any]) -> str:
    lines = ["engines, rows a second of one thread"]
    for label, engines in result["engines"].items():
        lines += [label, *engine_lines(engines, result["rates"][label])]
    kinds = list(result["ms"])
    of = {kind: f"{found['count']} of {found['kB']} kB" for kind, found in result["pairs"].items()}
    lines += ["CPU milliseconds a pair".ljust(30) + "".join(f"{kind:>18s}" for kind in kinds)]
    lines += ["".ljust(30) + "".join(f"{of.get(kind, ''):>18s}" for kind in kinds)]
    for name in ("decoding", *result["measured"], *result["engines"]):
        label = "decoding (shared)" if name == "decoding" else f"embed, {name}" if name in result["engines"] else name
        lines.append(f"  {label:28s}" + "".join(f"{result['ms'][kind][name]:18.2f}" for kind in kinds))
    for label, shares in result["share"].items():
        lines.append(f"  {'share of ' + label:28s}" + "".join(f"{shares[kind]:18.3f}" for kind in kinds))
    lines.append(f"bar: at most {MOST} of ViT-B/32 for mixed pairs; none for the embedded model")
    lines += [f"not measured: {name}: {why}" for name, why in result["absent"].items()]
    if "photographs" not in kinds:
        lines.append("no photographs: none is installed (the extra `photographs`)")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
