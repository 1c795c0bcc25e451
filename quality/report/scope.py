"""What a report is about: a release of a dataset, or its pool."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quality.command import UsageError
from schemas.policy import Policy, parse_stored_policy
from schemas.pool import Pool
from schemas.release import Release, latest


@dataclass(frozen=True)
class Scope:
    """What is reported on. release: None for a pool that no policy has judged, or that is asked for without one."""

    pool: Pool
    release: Release | None
    policy: Policy | None
    run: Mapping[str, Any]
    units: list[str]

    @property
    def captions(self) -> str | None:
        """The version of the captions that the release took; None for the sources'."""
        return None if self.policy is None else self.policy.caption_version


def scope_of(dataset: str, release: str | None, *, pool_only: bool) -> Scope:
    """Raises UsageError, naming what there is."""
    pool = Pool(dataset)
    if pool.settings("source") is None:
        raise UsageError(f"{dataset}: no dataset here; give the folder that python -m pipelines.ingest wrote as --dataset")
    name = None if pool_only else release or latest(pool.store) or _only_release(pool)
    if name is None:
        return Scope(pool, None, None, {}, _some(sorted(pool.committed()), dataset))
    found = release_of(pool, name)
    run = found.run()
    assert run is not None
    units = [unit.unit for unit in found.decided()]
    if not units:
        raise UsageError(f"{dataset}: release {name} has decided about nothing yet; run python -m pipelines.ingest --start_at select")
    return Scope(pool, found, parse_stored_policy(run["policy"]), run, sorted(units))


def release_of(pool: Pool, name: str) -> Release:
    """A release that there is. Raises UsageError, and ReleaseError for one that pairs were removed from."""
    there = sorted({path.split("/")[1] for path, _ in pool.store.list("releases") if path.count("/") > 1})
    if name not in there or Release(pool.store, name).run() is None:
        raise UsageError(f"{pool.store.root} has no release {name}; there is {', '.join(there) or 'none'}")
    release = Release(pool.store, name)
    release.manifest()  # raises where pairs were removed since
    return release


def _only_release(pool: Pool) -> str | None:
    """The release that stands unpublished, where there is one alone: a failed gate leaves it so."""
    there = sorted({path.split("/")[1] for path, _ in pool.store.list("releases") if path.count("/") > 1})
    return there[0] if len(there) == 1 else None


def _some(units: list[str], dataset: str) -> list[str]:
    if not units:
        raise UsageError(f"{dataset}: nothing was fetched yet; run python -m pipelines.ingest first")
    return units
