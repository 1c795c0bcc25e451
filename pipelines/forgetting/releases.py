"""Releases without the rows of a plan: each that has some gets a successor, and a notice in its own place.

A successor has the decisions and shards of the release that it follows, but for what was removed. Shards without a removed pair are referred
to, not copied (schemas.line). Nothing is selected anew. All successors stand before the first release is retired.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pipelines.forgetting.successor import Plan, is_outdated, successor_name, write_successor
from pipelines.publish import GateFailed, publish
from quality.block_lists import read_lists
from quality.documents import has_documents, read_about, write_documents
from quality.gates import GateResults, run_gates
from schemas.pool import Pool
from schemas.release import Release, ReleaseError, heartbeat, is_alive, latest, releases
from schemas.removals import Removal
from schemas.store import Store

Gates = Callable[[Pool, Release], GateResults]
_LEFT: Final = ("manifest.json", "run.json")  # of a release that a notice stands for: they say nothing of any pair


@dataclass(frozen=True)
class Followed:
    """successors: {release: the one that follows it}. unpublished: of these, those that a gate stopped. cleared: releases that were begun and not
    published, and are to be begun again."""

    successors: Mapping[str, str]
    unpublished: Sequence[str]
    cleared: Sequence[str]


def check_writers(store: Store) -> None:
    """Raises ReleaseError while another process writes a release."""
    for release in releases(store):
        beat = (release.run() or {}).get("heartbeat")
        if beat and release.notice() is None and release.manifest() is None and is_alive(beat) and beat.get("pid") != heartbeat()["pid"]:
            raise ReleaseError(
                f"release {release.name} is being written by process {beat['pid']} on {beat['host']}; wait until it has ended"
            )


def follow_releases(pool: Pool, removal: Removal, plan: Plan, uids: frozenset[str], *, gates: Gates = run_gates) -> Followed:
    """After the units are rewritten. uids: of all removed pairs. Raises ReleaseError for a release whose files do not fit its manifest."""
    standing = [release for release in releases(pool.store) if release.notice() is None]
    begun = [release for release in standing if release.manifest() is None and (release.run() or {}).get("removal") != removal.id]
    cleared = [release.name for release in begun if any(unit.unit in plan for unit in release.decided())]
    for name in cleared:
        Release(pool.store, name).clear()
    concerned = _in_line([release for release in standing if release.manifest() is not None and is_outdated(pool, release, plan)])
    written, successors = dict[tuple[str, int], str](), dict[str, Release]()
    lists = read_lists(pool.store).digest
    for release in concerned:
        successor = successors[release.name] = Release(pool.store, successor_name(release, removal))
        if successor.manifest() is None:
            write_successor(pool, release, successor, removal, plan, uids, written)
            with suppress(GateFailed):  # told at the end, from what stands: the pairs have to go whatever a gate says of the rest
                publish(_PoolThen(pool, release), successor, gates=gates, allow_missing=True, selected_with=lists, newest=False)
        if has_documents(release) and successor.manifest() is not None and not has_documents(successor):
            write_documents(pool, successor, read_about(pool.store))
        written |= {(release.holder(shard), shard): successor.name for shard in successor.own_shards()}
    for release in concerned:
        successor = successors[release.name]
        if latest(pool.store) == release.name:
            successor.put_latest()
        release.put_notice(superseded_by=successor.name, why=f"pairs were removed from it on request {removal.id}", removal=removal.id)
    _delete_retired(pool.store)
    return _followed(pool.store, removal, cleared)


def _followed(store: Store, removal: Removal, cleared: Sequence[str]) -> Followed:
    notices = {release.name: notice for release in releases(store) if (notice := release.notice()) is not None}
    successors = {name: notice["superseded_by"] for name, notice in notices.items() if notice.get("removal") == removal.id}
    unpublished = [name for name in successors.values() if name not in notices and Release(store, name).manifest() is None]
    return Followed(successors, sorted(unpublished), cleared)


class _PoolThen(Pool):
    """The pool as far as a release knows it: the books of an old one balance without the units that came since."""

    def __init__(self, pool: Pool, release: Release):
        super().__init__(pool.store)
        manifest = release.manifest()
        assert manifest is not None
        self._units, self._deferred = set(manifest["units"]), set(manifest["deferred_units"])

    def committed(self) -> set[str]:
        return super().committed() & self._units

    def planned_units(self) -> dict[str, int]:
        return {unit: rows for unit, rows in super().planned_units().items() if unit in self._units | self._deferred}


def _in_line(found: Sequence[Release]) -> list[Release]:
    """Parents before those that were made after them, so that the shard which both have is written for the first."""
    parents = {release.name: (release.manifest() or {}).get("parent") for release in found}

    def depth(name: str | None) -> int:
        steps = 0
        while name in parents and steps <= len(parents):
            name, steps = parents[name], steps + 1
        return steps

    return sorted(found, key=lambda release: (depth(release.name), release.name))


def _delete_retired(store: Store) -> None:
    """Deletes all that releases with a notice still have, but for the shards that others refer to."""
    all_of_them = releases(store)
    retired = [release for release in all_of_them if release.notice() is not None]
    needed = {place for release in all_of_them if release.notice() is None for place in _referred(release)}
    for release in retired:
        for path, _ in list(store.list(release.path)):
            if path.removeprefix(f"{release.path}/") not in _LEFT and path not in needed:
                store.delete(path)


def _referred(release: Release) -> Iterator[str]:
    """Paths of the shards of other releases that a release has."""
    for shard in release.references():
        yield from (release.shard_path(shard, suffix) for suffix in ("tar", "parquet"))
