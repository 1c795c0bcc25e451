"""A published release: its manifest against run, decisions, shards and pool; its books; and what was made from it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipelines.verify.findings import RESTORE, Damaged, Finding, differing, read_json, reading, size_and_digest
from schemas.captions import CaptionVersion
from schemas.line import generations_of, references_of
from schemas.pool import Pool
from schemas.reasons import VERDICTS
from schemas.release import Decided, Release
from schemas.units import Commit

_NEEDED: Final = ("counts", "digest", "funnel", "policy", "release", "shards", "units")


def manifest_of(release: Release) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The manifest of a release; None where it is not published, was withdrawn (a notice stands in its place) or is damaged."""
    path = f"{release.path}/manifest.json"
    if not release.store.exists(path):
        return None, []
    try:
        manifest = read_json(release.store, path)
    except Damaged as damaged:
        return None, [damaged.finding]
    if manifest.get("removed"):
        return None, []
    missing = [name for name in _NEEDED if name not in manifest]
    if missing:
        return None, [Finding(path, ", ".join(missing), "is not there", "", "", RESTORE)]
    try:
        references_of(manifest)
    except (ValueError, KeyError) as error:
        return None, [Finding(path, "shards", "a path that no release writes", "", str(error), RESTORE)]
    return manifest, []


def check_release(pool: Pool, release: Release, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """All that is not in a decisions file or a shard, the books apart (books_of)."""
    path = f"{release.path}/manifest.json"
    yield from differing(path, "release", "name", release.name, manifest["release"])
    try:
        run = read_json(release.store, f"{release.path}/run.json")
        yield from differing(path, "digest", "digest that run.json has", run.get("digest"), manifest["digest"])
    except Damaged as damaged:
        yield damaged.finding
    if release.store.exists(f"{release.path}/gates.json"):
        yield from _readable(release, "gates.json")
    yield from _settled(release, manifest)
    yield from _derived(release)
    yield from _strange_files(release, manifest)
    yield from _units_of_pool(pool, path, manifest)


def _readable(release: Release, name: str) -> Iterator[Finding]:
    try:
        read_json(release.store, f"{release.path}/{name}")
    except Damaged as damaged:
        yield damaged.finding


def books_of(path: str, manifest: Mapping[str, Any], decided: list[Decided]) -> Iterator[Finding]:
    """Rows in = keep + review + drop + deferred, in all and as the sum of the units; kept pairs = samples; reasons as the decisions have them.

    Only of a manifest whose figures of units and shards are those of their files: else all of this is wrong with them.
    """
    counts, units = manifest["counts"], manifest["units"].values()
    deferred = sum(manifest["deferred_units"].values())
    sums = {verdict: sum(unit[verdict] for unit in units) for verdict in VERDICTS} | {"deferred": deferred}
    for name, value in sums.items():
        yield from differing(path, f"counts, {name}", "sum of the units", value, counts.get(name))
    rows = sum(unit["rows"] - unit["retried"] for unit in units) + deferred
    yield from differing(path, "counts, rows", "rows of the units", rows, counts.get("rows"))
    samples = sum(entry["count"] for entry in manifest["shards"])
    yield from differing(path, "shards, count", "samples, as many as pairs kept", sums["keep"], samples)
    licenses = sum(manifest.get("licenses", {"": samples}).values())
    yield from differing(path, "licenses", "kept pairs of all classes", samples, licenses)
    statuses = sum(manifest["funnel"]["statuses"].values()) + deferred
    yield from differing(path, "funnel, statuses", "rows of the units", rows, statuses)
    reasons = Counter[str]()
    for unit in decided:
        reasons.update(unit.reasons)
    told = dict(sorted(manifest["funnel"]["reasons"].items()))
    yield from differing(path, "funnel, reasons", "pairs by reason", dict(sorted(reasons.items())), told)


def numbers_of(path: str, manifest: Mapping[str, Any]) -> list[Finding]:
    """Whether the shards of all generations are there; where they are not, nothing else of the books can be right."""
    numbers = [entry["shard"] for entry in manifest["shards"]]
    return differing(path, "shards", "their numbers", list(range(generations_of(manifest).total)), numbers)


def _settled(release: Release, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    wanted, path = (manifest.get("reviews") or {}).get("digest"), f"{release.path}/settled.parquet"
    if wanted is not None:
        try:
            reading(path, lambda: release.read_settled(wanted))
        except Damaged as damaged:
            yield damaged.finding


def _derived(release: Release) -> Iterator[Finding]:
    """What was made from the release, against derived.json."""
    path = f"{release.path}/derived.json"
    if not release.store.exists(path):
        return
    again = "make it again with the command that made it"
    try:
        told = read_json(release.store, path, todo=again)
    except Damaged as damaged:
        yield damaged.finding
        return
    for name, digest in sorted(told.items()):
        try:
            _, found = size_and_digest(release.store, f"{release.path}/{name}", lambda _: None)
            yield from differing(f"{release.path}/{name}", "", "sha256, as derived.json has it", digest, found, again)
        except Damaged as damaged:
            yield Finding(damaged.finding.path, "", damaged.finding.what, "the file that derived.json names", "nothing", again)


def _strange_files(release: Release, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Decisions and shards that the manifest does not name."""
    referenced = references_of(manifest)
    own = {f"{number:06d}" for number in range(generations_of(manifest).total) if number not in referenced}
    for folder, names in (("decisions", set(manifest["units"])), ("shards", own)):
        for path, _ in release.store.list(f"{release.path}/{folder}"):
            if Path(path).stem not in names:
                yield Finding(path, "", "the manifest does not name it", "", "", "delete it")


def _units_of_pool(pool: Pool, path: str, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """The commits and scores that the release was made from, by their footers."""
    for name, unit in manifest["units"].items():
        place = f"pool/raw/{name}.parquet"
        try:
            commit = reading(place, lambda name=name: pool.raw_commit(name))  # type: ignore[misc]
        except Damaged:
            continue  # told by the unit's own check
        if commit is None:
            yield Finding(place, "", "is not there", f"the commit with content {unit['raw'][:12]}…", "nothing", RESTORE)
            continue
        yield from differing(place, "", "digest of the content, as releases have it", unit["raw"], commit.content_digest)
        yield from differing(place, "footer, tar_sha256", "digest of its tar, as releases have it", unit["tar"], commit.tar_sha256)
        for pass_name, digest in unit["scores"].items():
            scores = partial(pool.score_commit, pass_name, name)
            yield from _as_told(f"pool/scores/{pass_name}/{name}.parquet", scores, unit["raw"], digest, "scores")
        if (captions := manifest.get("captions")) is not None and "captions" in unit:
            version = CaptionVersion(pool, captions["version"])
            given = partial(version.commit_of, name)
            yield from _as_told(f"{version.path}/{name}.parquet", given, unit["raw"], unit["captions"], "captions")


def _as_told(path: str, read: Callable[[], Commit | None], raw: str, digest: str, what: str) -> Iterator[Finding]:
    """A file beside a unit's commit `raw`, against the digest that the release has of it."""
    try:
        commit = reading(path, read)
    except Damaged:
        return  # told by the unit's own check
    if commit is None:
        yield Finding(path, "", "is not there", f"{what} with content {digest[:12]}…", "nothing", RESTORE)
    elif commit.input_digest == raw:
        yield from differing(path, "", "digest of the content, as releases have it", digest, commit.content_digest)
