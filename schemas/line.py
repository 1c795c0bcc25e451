"""A line of releases: each made with the one before as its parent, by one policy, for one target. They share shards.

A pair lies in shard hash(uid) mod n of its generation: the pairs of the units that the same release of the line was the first to decide
about. n is fixed by that release, and a later generation's shards are numbered after those before. So a shard whose pairs stay as they are
is the same bytes in every later release, which then refers to the one that wrote it: the path of its entry in the manifest is
`../<that release>/shards/000007.tar`, and not `shards/000007.tar`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_PATH: Final = re.compile(r"(?:\.\./([^/]+)/)?shards/(\d{6,})\.tar")


@dataclass(frozen=True)
class Generations:
    """shards: how many each generation has, the first's from number 0. of_unit: each unit's generation; one that is not in it is of the newest."""

    shards: tuple[int, ...]
    of_unit: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many shards there are."""
        return sum(self.shards)

    def generation(self, unit: str) -> int:
        return self.of_unit.get(unit, len(self.shards) - 1)

    def place(self, unit: str) -> tuple[int, int]:
        """(first, how many) shards that the pairs of a unit are spread over."""
        generation = self.generation(unit)
        return sum(self.shards[:generation]), self.shards[generation]

    def told(self) -> list[dict[str, int]]:
        """As run.json and the manifest tell it; the manifest's units tell their generation."""
        return [{"first_shard": sum(self.shards[:place]), "shards": count} for place, count in enumerate(self.shards)]


def generations_of(manifest: Mapping[str, Any]) -> Generations:
    """The generations of a published release; one that was made before there were any is its line's first."""
    told = manifest.get("generations")
    counts = [len(manifest["shards"])] if told is None else [generation["shards"] for generation in told]
    return Generations(tuple(counts), {unit: counted.get("generation", 0) for unit, counted in manifest["units"].items()})


def shard_entry_path(shard: int, holder: str | None) -> str:
    """The path of a shard's entry in the manifest, relative to the release. holder: the earlier release that it lies in, if it does."""
    return f"{'' if holder is None else f'../{holder}/'}shards/{shard:06d}.tar"


def references_of(manifest: Mapping[str, Any]) -> dict[int, str]:
    """{shard: release} of the entries that lie in an earlier release. Raises ValueError for a path that no release writes."""
    found = {}
    for entry in manifest.get("shards", ()):
        match = _PATH.fullmatch(entry.get("path", shard_entry_path(entry["shard"], None)))
        if match is None or int(match[2]) != entry["shard"] or match[1] in (".", ".."):
            raise ValueError(f"shard {entry['shard']} has the path {entry['path']!r}")
        if match[1] is not None:
            found[entry["shard"]] = match[1]
    return found
