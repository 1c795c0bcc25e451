"""All checks of a dataset, side by side, with what they found as it comes."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pipelines.verify.decisions import Read, check_decisions, check_shard, unlike
from pipelines.verify.findings import Finding
from pipelines.verify.pool import Layout, check_pool, check_unit, layout_of
from pipelines.verify.release import books_of, check_release, manifest_of, numbers_of
from schemas.pool import Pool
from schemas.release import Decided, Release, latest
from schemas.release import releases as all_releases


@dataclass
class Progress:
    """How many bytes of tars there are to hash, and how many are hashed."""

    total: int = 0
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, bytes_: int) -> None:
        with self._lock:
            self.done += bytes_


@dataclass
class _Books:
    """What is known of a release while its files are read. unsure: whether a file of it could not be relied on."""

    kept: dict[str, tuple[int, int]] = field(default_factory=dict)
    sharded: dict[str, tuple[int, int]] = field(default_factory=dict)
    decided: list[Decided] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)
    shards_unsure: bool = False
    manifest_wrong: bool = False


def verify(
    pool: Pool, *, releases: list[str] | None = None, with_pool: bool = True, threads: int = 2, progress: Progress | None = None
) -> Iterator[Finding]:
    """Every finding, each once. releases: names; None: all. with_pool: whether the pool is read too. threads: files read at a time."""
    progress = progress or Progress()
    seen = set[Finding]()
    names = [release.name for release in all_releases(pool.store)] if releases is None else releases
    for finding in _findings(pool, names, with_pool, threads, progress):
        if finding not in seen:
            seen.add(finding)
            yield finding


def _findings(pool: Pool, names: list[str], with_pool: bool, threads: int, progress: Progress) -> Iterator[Finding]:
    manifests = dict[str, dict[str, Any]]()
    for name in names:
        manifest, wrong = manifest_of(Release(pool.store, name))
        yield from wrong
        if manifest is not None:
            manifests[name] = manifest
    newest = latest(pool.store)
    if newest is not None and manifest_of(Release(pool.store, newest)) == (None, []):
        yield Finding(
            "releases/latest", "", "names no published release", "one of those that are", newest, "write the name of the newest into it"
        )
    raw: dict[str, set[str]] = {}
    for manifest in manifests.values():
        for unit, told in manifest["units"].items():
            raw.setdefault(unit, set()).add(told["raw"])
    books = {name: _Books() for name in manifests}
    for name, manifest in manifests.items():
        wrong = numbers_of(f"releases/{name}/manifest.json", manifest)
        books[name].shards_unsure = bool(wrong)
        yield from wrong
    with ThreadPoolExecutor(threads) as workers:
        jobs = _jobs(pool, manifests, books, layout_of(pool, raw) if with_pool else None, progress)
        yield from _run(workers, jobs, threads)
    for name, manifest in manifests.items():
        yield from _balance(Release(pool.store, name), manifest, books[name])


def _jobs(
    pool: Pool, manifests: Mapping[str, Mapping[str, Any]], books: Mapping[str, _Books], layout: Layout | None, progress: Progress
) -> Iterator[Callable[[], list[Finding]]]:
    sizes = {path: size for folder in ("pool/raw", "releases") for path, size in pool.store.list(folder) if path.endswith(".tar")}
    shards = dict[str, list[tuple[Release, Mapping[str, Any]]]]()
    for name, manifest in manifests.items():
        release = Release(pool.store, name)
        for entry in manifest["shards"]:
            shards.setdefault(release.shard_path(entry["shard"], "tar"), []).append((release, entry))
    progress.total = sum(sizes.get(path, 0) for path in shards)
    if layout is not None:
        progress.total += sum(size for path, size in sizes.items() if path.startswith("pool/raw/"))
        yield lambda: list(check_pool(pool, layout))
        for unit in sorted(layout.units):
            yield lambda unit=unit: check_unit(pool, layout, unit, progress.tell)  # type: ignore[misc]
    for name, manifest in manifests.items():
        release = Release(pool.store, name)
        yield lambda release=release, manifest=manifest: list(check_release(pool, release, manifest))  # type: ignore[misc]
        for unit, told in manifest["units"].items():
            yield lambda release=release, unit=unit, told=told: _decisions(pool, release, unit, told, books[release.name])  # type: ignore[misc]
    for sharing in shards.values():
        yield lambda sharing=sharing: _shard(sharing, books, progress)  # type: ignore[misc]


def _run(workers: ThreadPoolExecutor, jobs: Iterator[Callable[[], list[Finding]]], threads: int) -> Iterator[Finding]:
    """Few jobs wait at a time, so that what they hold stays small."""
    running = {workers.submit(job) for job in islice(jobs, 4 * threads)}
    while running:
        done = next(as_completed(running))
        running.discard(done)
        running |= {workers.submit(job) for job in islice(jobs, 1)}
        yield from done.result()


def _decisions(pool: Pool, release: Release, unit: str, told: Mapping[str, Any], books: _Books) -> list[Finding]:
    read = check_decisions(pool, release, unit, told)
    books.manifest_wrong |= _blames_manifest(release, read)
    if read.kept is None or read.decided is None:
        books.unsure.add(unit)
    else:
        books.kept |= read.kept
        books.decided.append(read.decided)
    return read.findings


_adding = threading.Lock()


def _shard(sharing: list[tuple[Release, Mapping[str, Any]]], books: Mapping[str, _Books], progress: Progress) -> list[Finding]:
    """A shard is hashed once for all releases that have it; where their entries are equal, one check is enough."""
    found, before = list[Finding](), dict[str, Read]()
    for release, entry in sharing:
        key = str(sorted((name, value) for name, value in entry.items() if name != "path"))
        if key not in before:
            before[key] = check_shard(release, entry, progress.tell if not before else lambda _: None)
        read = before[key]
        found += read.findings
        book = books[release.name]
        book.manifest_wrong |= _blames_manifest(release, read)
        with _adding:
            book.shards_unsure |= read.kept is None
            for unit, (count, total) in (read.kept or {}).items():
                was, sum_ = book.sharded.get(unit, (0, 0))
                book.sharded[unit] = was + count, (sum_ + total) % 2**64
    return found


def _blames_manifest(release: Release, read: Read) -> bool:
    return any(finding.path == f"{release.path}/manifest.json" for finding in read.findings)


def _balance(release: Release, manifest: Mapping[str, Any], books: _Books) -> Iterator[Finding]:
    """What only all files of a release together tell."""
    if not books.manifest_wrong and not books.unsure and not books.shards_unsure:
        yield from books_of(f"{release.path}/manifest.json", manifest, books.decided)
    for unit in sorted((books.kept.keys() | books.sharded.keys()) - books.unsure) if not books.shards_unsure else ():
        if books.kept.get(unit, (0, 0)) != books.sharded.get(unit, (0, 0)):
            yield from unlike(release, manifest, unit)
