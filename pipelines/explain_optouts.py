"""What a pair's site and file say of mining, and when they were asked."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from pipelines.fetch.origins import bucket_of, origin_of
from quality.urls import BadUrl, url_of
from schemas.pool import Pool


def mining_lines(pool: Pool, unit: str, row: int, raw: dict[str, Any]) -> list[str]:
    """raw: the pair's raw columns. Nothing where nobody says anything."""
    if raw.get("optout") is None:
        return []
    told = [*_read_at(pool, raw), *_fetched_at(pool, unit, row)]
    return [f"mining     {raw['optout']}: {raw['optout_signals']}" + (f"  ({'; '.join(told)})" if told else "")]


def _read_at(pool: Pool, raw: dict[str, Any]) -> Iterable[str]:
    """When the files of the pair's host were read last; of a redirect's host they are in pool/hosts too."""
    try:
        origin = origin_of(url_of(raw["url"] or ""))
    except BadUrl:
        return
    readings = pool.read_hosts(bucket_of(origin))
    last: datetime | None = pc.max(readings.filter(pc.equal(readings["origin"], origin))["read_at"]).as_py()
    if last is not None:
        yield f"robots.txt and TDMRep read {last:%Y-%m-%d %H:%M} UTC"


def _fetched_at(pool: Pool, unit: str, row: int) -> Iterable[str]:
    requests = pool.read_requests(unit, ["began"])
    began = None if requests is None else requests["began"][row].as_py()
    if began is not None:
        yield f"headers and file read {began:%Y-%m-%d %H:%M} UTC"
