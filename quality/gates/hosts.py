"""Failures by host: one dead or hostile host must not pass for the weather of the whole web."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quality.gates.indexes import FEW
from quality.gates.shares import FAILED
from schemas.follow_ups import retried_rows
from schemas.pool import Pool

HOST_COLUMNS: Final = ("host", "asked", "failed", "failed_share", "share_of_failures")
_ASKED: Final = pa.array(["success", *FAILED])
_HOST: Final = r"(?i)^\s*https?://(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)"  # RFC 3986, appendix B


def host_metrics(pool: Pool, units: Sequence[str]) -> pd.DataFrame:
    """HOST_COLUMNS, one row per host that was asked, by name; a pair belongs to the host of its `url`, redirects not followed.

    failed_share: of the pairs asked for, null for a host with fewer than FEW failures. share_of_failures: of all failures; null for a host
    that answers most of its requests too: it is up, and a list of one host has all its failures there.
    A pair that was asked for again counts as it ended at last. A unit that cannot be read is left out; units have a rule for it.
    """
    asked, failed, there = Counter[str](), Counter[str](), set(units)
    for unit in units:
        try:
            table = pool.read_raw(unit, ["url", "status"])
        except (pa.ArrowException, OSError, KeyError):
            continue
        here = np.ones(table.num_rows, bool)
        here[retried_rows(pool, unit, there)] = False
        table = table.filter(pa.array(here))
        table = table.filter(pc.and_(pc.is_in(table["status"], _ASKED), pc.is_valid(table["url"])))
        hosts = host_column(table["url"])
        for counter, mask in ((asked, None), (failed, pc.is_in(table["status"], pa.array(FAILED)))):
            counts = (hosts if mask is None else hosts.filter(mask)).value_counts().to_pylist()
            counter.update({row["values"]: row["counts"] for row in counts if row["values"]})
    total = failed.total()
    rows = []
    for host in sorted(asked):
        row: dict[str, Any] = {"host": host, "asked": asked[host], "failed": failed[host]}
        if failed[host] >= FEW:
            row["failed_share"] = round(failed[host] / asked[host], 4)
            row["share_of_failures"] = round(failed[host] / total, 4) if failed[host] > asked[host] / 2 else None
        rows.append(row)
    return pd.DataFrame(rows, columns=HOST_COLUMNS)


def host_column(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """The host of each url, in lower case; null where there is none."""
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _HOST), "host"))
