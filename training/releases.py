"""A release opened for training: it must be published, and its licences and opt-outs must allow training. Its indexes are held in memory."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.release import Release, ReleaseError, latest
from schemas.store import is_url, open_store

LICENSES: Final = ("public-domain", "attribution", "share-alike")  # classes that may be learned from unless the user says otherwise
MINING: Final = "evidence.mining"  # what a file says of itself: "disallowed" is an opt-out
OPTOUT: Final = (
    "optout"  # what the site said too, when the file was fetched; releases that were made before it was asked have no such column
)
_COLUMNS: Final = ("uid", "offset", "size", "width", "height", "caption")
_READERS: Final = 8  # indexes read at a time


@dataclass(frozen=True)
class Samples:
    """Where every sample of a release lies; arrays of one length, in the order of shards and of the samples in them.

    uid: (n, 2) uint64, the 32 hex digits as two numbers. shard: int32. offset, size: int64, of the image's bytes in the tar.
    width, height: int32, pixels. captions: text. weights: float32, how often a sample is seen in an epoch, or None for once.
    """

    uid: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    width: np.ndarray
    height: np.ndarray
    captions: pa.ChunkedArray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.shard)

    def uid_of(self, sample: int) -> str:
        """The identity of the pair: 32 hex digits."""
        high, low = self.uid[sample].tolist()
        return f"{high:016x}{low:016x}"


@dataclass(frozen=True)
class TrainingSet:
    """A release that may be trained on. tars: paths of its shards below the dataset, by number."""

    release: Release
    manifest: dict[str, Any]
    samples: Samples

    def tar(self, shard: int) -> str:
        return self.release.shard_path(shard, "tar")


def open_release(
    path: str | Path, *, licenses: Collection[str] | None = LICENSES, optouts: bool = True, weight: str | None = None
) -> TrainingSet:
    """The release at `path`: <dataset>/releases/<name>, or a dataset, whose newest release is taken; a local path, or a URL.

    licenses: the licence classes that may be in it; None: any. optouts: whether files that forbid mining in their own metadata are refused,
    and indexes that do not say.
    weight: a column of the indexes, whose value is how often a sample is seen in an epoch (0: never; null: never).
    Raises ReleaseError for a path without a published release, and for one that may not be trained on; the message says how to override.
    """
    release = _find(str(path).rstrip("/") if is_url(path) else str(Path(path).absolute()))
    manifest = release.manifest()
    if manifest is None:
        raise ReleaseError(
            f"{path}: release {release.name} has no manifest, so it is not published and may change; run "
            f"python -m pipelines.publish --dataset {release.store.root} --release {release.name}"
        )
    _check_licenses(release, manifest, licenses)
    numbers = [shard["shard"] for shard in manifest["shards"]]
    columns = [*_COLUMNS, *([] if weight is None else [weight])]
    with ThreadPoolExecutor(_READERS) as readers:
        read = list(readers.map(lambda number: _read_index(release, number, columns, weight, optouts), numbers))
    unmeasured = [number for number, (_, count) in zip(numbers, read, strict=True) if count is None]
    if unmeasured:
        raise ReleaseError(
            f"release {release.name}: the index of {release.shard_path(unmeasured[0], 'tar')} has no column {MINING}, so nobody has measured "
            "whether its files forbid mining; score the pool with the scorer evidence and select anew, or go on with optouts=False"
        )
    refused = sum(count or 0 for _, count in read)
    if refused:
        raise ReleaseError(
            f"release {release.name}: {refused:,} of its files forbid mining by their metadata ({MINING}) or their site ({OPTOUT}); select them out "
            "with a policy that drops optout:disallowed, or allow them with optouts=False"
        )
    tables = [table for table, _ in read]
    shards = np.repeat(np.array(numbers, np.int32), [table.num_rows for table in tables])
    table = pa.concat_tables(tables) if tables else pa.table({name: pa.array([], pa.string()) for name in columns})
    weights = None if weight is None else np.asarray(pc.fill_null(table[weight].cast(pa.float32()), 0))
    if weights is not None and not (np.isfinite(weights) & (weights >= 0)).all():
        raise ReleaseError(f"release {release.name}: column {weight} has weights below 0 or that are no numbers; give another column")
    offset, size, width, height = (table[name].to_numpy() for name in ("offset", "size", "width", "height"))
    samples = Samples(_numbers(table["uid"]), shards, offset, size, width, height, table["caption"], weights)
    return TrainingSet(release, manifest, samples)


def _find(path: str) -> Release:
    dataset, between, name = path.rpartition("/releases/")
    if between:
        return Release(open_store(dataset), name)
    store = open_store(path)
    name = latest(store) or ""
    if not name:
        raise ReleaseError(f"{path}: no published release here; give a dataset, or <dataset>/releases/<name>")
    return Release(store, name)


def _check_licenses(release: Release, manifest: dict[str, Any], allowed: Collection[str] | None) -> None:
    if allowed is None:
        return
    counts = manifest.get("licenses")
    if counts is None:
        raise ReleaseError(
            f"release {release.name}: its manifest does not count licence classes, so nobody has measured that it may be trained on; publish "
            "it anew, or go on with licenses=None"
        )
    others = {class_: count for class_, count in counts.items() if count and class_ not in allowed}
    if others:
        told = ", ".join(f"{count:,} {class_}" for class_, count in sorted(others.items()))
        raise ReleaseError(
            f"release {release.name} holds pairs of licence classes that are not allowed here: {told}; select with a policy that drops them, "
            f"or allow them: licenses={(*allowed, *sorted(others))!r}"
        )


def _read_index(release: Release, number: int, columns: Sequence[str], weight: str | None, optouts: bool) -> tuple[pa.Table, int | None]:
    """Columns of an index, and how many of its files forbid mining; None where it does not say."""
    names = release.index_schema(number).names
    if weight is not None and weight not in names:
        raise ReleaseError(f"release {release.name}: no column {weight!r} in its indexes to weigh by; there are {', '.join(names)}")
    if not optouts:
        return release.read_index(number, columns), 0
    if MINING not in names:
        return release.read_index(number, columns), None
    said = [name for name in (MINING, OPTOUT) if name in names]
    table = release.read_index(number, [*columns, *said])
    forbids = [pc.fill_null(pc.equal(table[name], "disallowed"), False) for name in said]
    return table.select(list(columns)), pc.sum(reduce(pc.or_, forbids)).as_py() or 0


def _numbers(uids: pa.ChunkedArray) -> np.ndarray:
    """(n, 2) uint64 of n times 32 hex digits."""
    digits = "".join(uids.to_pylist())
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64).reshape(-1, 2)
