"""Builds the corpus into a folder: images first, `metadata.parquet` last and in one rename."""

import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.corpus.clipart import clipart_pairs
from training.corpus.drawing import draw
from training.corpus.icons import emoji_pairs, game_icon_pairs
from training.corpus.rows import SCHEMA, Pair
from training.splits import split_of

# Left out by what they are called: a corpus that anyone may open at work has no nudity in it.
_UNSUITABLE = re.compile(r"\b(sex|sexy|nude|naked|topless|erotic|porn|swastika|nazi)\b", re.IGNORECASE)
_CHUNK = 32  # images a worker is given at once


@dataclass(frozen=True)
class Summary:
    """What a build made: rows by (collection, split, licence), and (source_id, why) of each pair that is not in the corpus."""

    rows: Counter[tuple[str, str, str]]
    skipped: list[tuple[str, str]]
    korean: int
    image_bytes: int


def build(out: Path, *, sources: Path, processes: int = 2, progress: Callable[[int, int], None] = lambda done, of: None) -> Summary:
    """Writes `out/images/<collection>/<name>.png` and `out/metadata.parquet`, sorted by file name.

    Packages are read from `sources`, and fetched there when they are absent. Images that are already in `out` are kept, so that a build
    that was stopped goes on. `progress` is told (images done, of how many). Raises SourceError.
    """
    pairs = sorted(chain(clipart_pairs(sources), emoji_pairs(sources), game_icon_pairs(sources)), key=lambda pair: pair.file_name)
    skipped = [(pair.source_id, "unsuitable by its name") for pair in pairs if _is_unsuitable(pair)]
    pairs = [pair for pair in pairs if not _is_unsuitable(pair)]
    for collection in {pair.collection for pair in pairs}:
        (out / "images" / collection).mkdir(parents=True, exist_ok=True)

    drawn: list[Pair] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=os.nice, initargs=(10,)) as pool:
        answers = pool.map(draw, (pair.drawing for pair in pairs), (out / pair.file_name for pair in pairs), chunksize=_CHUNK)
        for pair, problem in zip(pairs, answers, strict=True):
            if problem is None:
                drawn.append(pair)
            else:
                skipped.append((pair.source_id, problem))
            progress(len(drawn) + len(skipped), len(pairs) + len(skipped))

    table = pa.Table.from_pylist([_row(pair) for pair in drawn], schema=SCHEMA)
    partial = out / "metadata.parquet.partial"
    pq.write_table(table, partial, compression="zstd")
    partial.replace(out / "metadata.parquet")
    return Summary(
        rows=Counter((pair.collection, split_of(pair.concept), pair.license or "not stated") for pair in drawn),
        skipped=skipped,
        korean=sum(pair.caption_ko is not None for pair in drawn),
        image_bytes=sum((out / pair.file_name).stat().st_size for pair in drawn),
    )


def _row(pair: Pair) -> dict[str, str | None]:
    return {name: split_of(pair.concept) if name == "split" else getattr(pair, name) for name in SCHEMA.names}


def _is_unsuitable(pair: Pair) -> bool:
    # An underscore is a letter to \b, and file names are full of them.
    words = " ".join(filter(None, (pair.name, pair.caption, pair.tags))).replace("_", " ")
    return _UNSUITABLE.search(words) is not None
