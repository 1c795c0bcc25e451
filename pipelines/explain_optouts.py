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
    requests = pool.read_requests(unit, ["began"])
    if requests is None:  # of a user's tar, whose host was not asked, and of a pool that is older than the table
        return [f"mining     {raw['optout']}: {raw['optout_signals']}"]
    began = requests["began"][row].as_py()
    told = list(_read_at(pool, raw, began))
    if began is not None:
        told.append(f"headers and file read {began:%Y-%m-%d %H:%M} UTC")
    return [f"mining     {raw['optout']}: {raw['optout_signals']}" + (f"  ({'; '.join(told)})" if told else "")]


def _read_at(pool: Pool, raw: dict[str, Any], began: datetime | None) -> Iterable[str]:
    """When the files of the pair's host were read, before its request where there was one; of a redirect's host they are in pool/hosts too."""
    try:
        origin = origin_of(url_of(raw["url"] or ""))
    except BadUrl:
        return
    readings = pool.read_hosts(bucket_of(origin))
    times = [
        time for time in readings.filter(pc.equal(readings["origin"], origin))["read_at"].to_pylist() if began is None or time <= began
    ]
    if times:
        yield f"robots.txt and TDMRep read {max(times):%Y-%m-%d %H:%M} UTC"
