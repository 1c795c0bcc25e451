"""Removals: what was taken out of a dataset on request, and may never come back. Digests alone: no url, caption, image or name of a person.

    removals/<id>/entries.parquet   ENTRIES: what is refused from now on, of the pairs that were named and of those that hold the same picture
    removals/<id>/request.json      the request; from this put on its entries count as a block list of the dataset (quality.block_lists)
    removals/<id>/plan.parquet      PLAN: the pool's rows that are taken out, put before the first of them is
    removals/<id>/done.json         the receipt, put last

A request without its receipt is open: the same command goes on with it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import field
from schemas.digest import digest_of_json
from schemas.pool import write_parquet
from schemas.scratch import Scratch
from schemas.store import Store

FOLDER: Final = "removals"

# Words of `kind`: what the bytes of an entry are.
KINDS: Final = {
    "uid": "the 16 bytes of a pair's uid",
    "url": "SHA-256 of a url in canonical form (quality.urls)",
    "url_sha256": "SHA-256 of a url as it is written, where it has no canonical form",
    "sha256": "SHA-256 of a file's bytes",
    "pdq": "PDQ of a picture; what lies within distance 31 is refused too",
    "domain_sha256": "SHA-256 of a domain's name, which stands for its subdomains too",
    "creator_sha256": "SHA-256 of a creator's name, without regard to case and spaces",
}
ENTRIES: Final = pa.schema(
    [
        field("kind", pa.string(), meaning="what the value is: a word of schemas.removals.KINDS"),
        field("value", pa.binary(), meaning="the bytes that KINDS says"),
        field("named", pa.bool_(), meaning="whether the request named it itself; else it was found with a pair of the pool"),
    ]
)
PLAN: Final = pa.schema(
    [
        field("unit", pa.string(), meaning="the pool's unit"),
        field("row", pa.int32(), meaning="row in the unit"),
        field("twin", pa.bool_(), meaning="whether it is there for its picture or its address alone: the request did not name it"),
    ]
)

Entries = Mapping[str, frozenset[bytes]]  # by kind


@dataclass(frozen=True)
class Request:
    """reason, asked_by: as they were given. when: seconds since 1970. named: how many entries of each kind the request names itself."""

    id: str
    reason: str
    asked_by: str | None
    when: float
    named: Mapping[str, int]


class Removal:
    """The removal `id` of a dataset. Cheap to make."""

    def __init__(self, store: Store, id: str):
        self.store, self.id, self.path = store, id, f"{FOLDER}/{id}"

    def request(self) -> Request | None:
        """None before it was put: nothing of it counts then."""
        found = self._json("request")
        return None if found is None else Request(**found)

    def done(self) -> dict[str, Any] | None:
        """The receipt; None while the request is open."""
        return self._json("done")

    def entries(self, *, named: bool = False) -> dict[str, frozenset[bytes]]:
        """All entries by kind, or those alone that the request named itself."""
        table = self._read("entries")
        found = dict[str, set[bytes]]()
        for kind, value, by_request in zip(*(table[name].to_pylist() for name in ENTRIES.names), strict=True):
            if by_request or not named:
                found.setdefault(kind, set()).add(value)
        return {kind: frozenset(values) for kind, values in found.items()}

    def put_entries(self, named: Entries, found: Entries) -> None:
        """Puts the entries in place of those that stand. found: of pairs of the pool."""
        rows = {(kind, value): False for kind, values in found.items() for value in values}
        rows |= {(kind, value): True for kind, values in named.items() for value in values}
        self._put("entries", pa.Table.from_pylist([{"kind": k, "value": v, "named": by} for (k, v), by in sorted(rows.items())], ENTRIES))

    def put_request(self, request: Request) -> None:
        """Puts the request unless it stands."""
        self.store.put_new(f"{self.path}/request.json", _encoded(asdict(request)))

    def plan(self) -> pa.Table | None:
        """PLAN, by unit and row; None before it was made."""
        try:
            return self._read("plan")
        except FileNotFoundError:
            return None

    def put_plan(self, plan: pa.Table) -> None:
        self._put("plan", plan)

    def put_done(self, receipt: Mapping[str, Any]) -> None:
        self.store.put(f"{self.path}/done.json", _encoded(receipt))

    def reopen(self) -> None:
        """Takes the receipt away: there is more to be done."""
        self.store.delete(f"{self.path}/done.json")

    def _put(self, name: str, table: pa.Table) -> None:
        with Scratch() as folder:
            local = Path(folder, "table.parquet")
            write_parquet(table, {"removal": self.id}, local)
            self.store.put(f"{self.path}/{name}.parquet", local)

    def _read(self, name: str) -> pa.Table:
        with self.store.open(f"{self.path}/{name}.parquet") as file:
            return pq.ParquetFile(file).read(use_threads=False)

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads(self.store.read(f"{self.path}/{name}.json"))
        except FileNotFoundError:
            return None


def removal_id(named: Entries, reason: str) -> str:
    """12 hex digits: the same entries for the same reason are the same removal."""
    told = {kind: [value.hex() for value in sorted(values)] for kind, values in sorted(named.items()) if values}
    return digest_of_json(["removal", told, reason])[:12]


def removals(store: Store) -> list[Removal]:
    """All removals of a dataset whose request stands, by id."""
    ids = {path.split("/")[1] for path, _ in store.list(FOLDER) if path.endswith("/request.json")}
    return [Removal(store, id) for id in sorted(ids)]


def removed_entries(store: Store) -> dict[str, frozenset[bytes]]:
    """The entries of all removals of a dataset, by kind: what may never come back."""
    return union_of(removal.entries() for removal in removals(store))


def union_of(parts: Iterable[Entries]) -> dict[str, frozenset[bytes]]:
    found = dict[str, set[bytes]]()
    for part in parts:
        for kind, values in part.items():
            found.setdefault(kind, set()).update(values)
    return {kind: frozenset(values) for kind, values in found.items()}


def _encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()
