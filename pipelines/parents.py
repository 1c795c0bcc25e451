"""Which release a new one is made from: whose shards it goes on with, and which one it is compared with. See schemas.line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.options import UsageError
from schemas.digest import digest_of_json
from schemas.line import generations_of
from schemas.release import Release, latest
from schemas.store import Store

NONE: Final = "none"  # what --parent says for no parent
_SHARDED_ALIKE: Final = ("target_digest", "shard_size")  # of run.json: without these equal, no shard can be shared


@dataclass(frozen=True)
class Parentage:
    """digest: of the release. parent: the release that it is compared with. inherits: whether it goes on with that one's shards."""

    digest: str
    parent: str | None
    inherits: bool


def parentage_of(store: Store, run: Mapping[str, Any], given: str | None) -> Parentage:
    """The parentage of a release that is to be made. run: its `inputs` (release_digest), policy_digest, target_digest, shard_size.

    given: a release's name, "none", or None for the newest of the same line: equal policy, target and shard size; where there is none, the
    release begins a line, and is only compared with the newest of all. Equal inputs give the release that was made from them.
    Raises UsageError for a given one that is not published, or cannot share shards.
    """
    if given == NONE:
        return Parentage(run["inputs"], None, False)
    if given is not None:
        parent = Release(store, given)
        told = _published(parent)
        if told is None:
            raise UsageError(f"--parent {given}: {store.root} has no published release {given}")
        for name in _SHARDED_ALIKE:
            if told.get(name) != run[name]:
                raise UsageError(
                    f"--parent {given}: its shards were written with {name.replace('_', ' ')} {told.get(name, 'unknown')}, not {run[name]}; "
                    "give the flags that it was made with, or leave --parent out"
                )
        return _same_inputs(store, told, run) or _heir(parent, run)
    heir = None
    for release, told in _published_before(store):
        if (same := _same_inputs(store, told, run)) is not None:
            return same
        if heir is None and all(told.get(name) == run[name] for name in ("policy_digest", *_SHARDED_ALIKE)):
            heir = release
    return Parentage(run["inputs"], latest(store), False) if heir is None else _heir(heir, run)


def _same_inputs(store: Store, told: Mapping[str, Any], run: Mapping[str, Any]) -> Parentage | None:
    """The parentage of the release that run.json tells of, where it was made from the inputs of this one; None also where its parent is gone."""
    inherits = told.get("inherits") is not None
    if told.get("inputs", told["digest"]) != run["inputs"] or (inherits and _published(Release(store, told["inherits"])) is None):
        return None
    return Parentage(told["digest"], told.get("parent"), inherits)


def _heir(parent: Release, run: Mapping[str, Any]) -> Parentage:
    """Of the parent the digest holds what bytes hang on: how many shards each generation has, and which units."""
    manifest = parent.manifest()
    assert manifest is not None  # it was found published
    generations = generations_of(manifest)
    units: list[list[str]] = [[] for _ in generations.shards]
    for unit, generation in sorted(generations.of_unit.items()):
        units[generation].append(unit)
    return Parentage(digest_of_json(["line", run["inputs"], generations.shards, units]), parent.name, True)


def _published_before(store: Store) -> Iterator[tuple[Release, Mapping[str, Any]]]:
    """(release, run.json) of those that are published and can be a parent, the newest first."""
    name, seen = latest(store), set[str]()
    while name is not None and name not in seen:
        seen.add(name)
        release = Release(store, name)
        told = _published(release)
        if told is not None:
            yield release, told
        run = told or release.run() or {}
        name = run.get("after", run.get("parent"))  # before there were lines, the parent was the one before


def _published(release: Release) -> Mapping[str, Any] | None:
    """run.json of a release that is published, and has not been withdrawn."""
    return None if release.notice() is not None or release.manifest() is None else release.run()
