"""From the outcomes of a unit to its commit, or to the note that it is deferred: the network was down, or nothing came."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.fetch.client import NETWORK_WORDS
from pipelines.fetch.job import NetworkUp
from pipelines.fetch.sink import key_of
from pipelines.fetch.store import Outcome
from quality.block_lists import blanked
from schemas.columns import RAW, REQUESTS, SOURCE, table_of, uid_of
from schemas.pool import Pool
from schemas.reasons import error_word
from schemas.units import number_of

FEWEST_ROWS: Final = 20  # that all have to fail by the network before the fault is taken to be ours, where no host answered before
MOST: Final = 0.5  # share of a unit's rows that may be postponed or fail by the network before it is asked whether the unit is deferred
_NEVER_ASKED: Final = frozenset({"invalid", "blocked"})  # so that such rows say nothing about the network
_UNASKED: Final = frozenset({"private_address", "no_contact"})  # words of rows that a worker took up and asked nobody for
_FETCHED: Final = tuple(field.name for field in fields(Outcome) if field.name not in ("blocked_by", "took"))


def commit_unit(
    pool: Pool,
    unit: str,
    source: pa.Table,
    outcomes: Sequence[Outcome],
    tar: tuple[Path, str] | None,
    network_up: NetworkUp,
    *,
    input_digest: str,
) -> bool:
    """Commits the unit, adopting a rival's commit; or notes it as deferred (why_deferred). Returns whether it is committed.

    source: the reader's rows, columns SOURCE, then carried ones. outcomes: one a row. tar: its path and SHA-256 (hex), None without images.
    network_up: see why_deferred.
    """
    why = why_deferred(source, outcomes, network_up, again=number_of(unit) > 0)
    if why is not None:
        pool.defer(unit, source.num_rows, why)
        return False
    path, sha256 = tar or (None, None)
    blocked = Counter[str](outcome.blocked_by for outcome in outcomes if outcome.blocked_by is not None)
    if blocked:
        pool.put_incident(unit, blocked)
    pool.put_requests(unit, requests_table(outcomes))
    pool.commit(unit, raw_table(unit, source, outcomes), tar=path, input_digest=input_digest, tar_sha256=sha256)
    pool.undefer(unit)
    return True


def requests_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """schemas.columns.REQUESTS of a unit."""
    rows = [{} if outcome.took is None else asdict(outcome.took) for outcome in outcomes]
    return table_of([{**took, "row": row} for row, took in enumerate(rows)], REQUESTS)


def raw_table(unit: str, source: pa.Table, outcomes: Sequence[Outcome], *, keys: Sequence[str] | None = None) -> pa.Table:
    """The table of a raw commit: RAW, then carried columns. Rows whose status the source set keep it and its message.

    Of a blocked row nothing is left but `row` and `status`. keys: the images' member names, extension apart; None for those of our tars.
    """
    rows = range(source.num_rows)
    given = source.column("status").to_pylist()
    columns = {name: [getattr(outcome, name) for outcome in outcomes] for name in _FETCHED}
    messages = source.column("error_message").to_pylist()
    columns["error_message"] = [
        message if status is not None else found for status, message, found in zip(given, messages, columns["error_message"], strict=True)
    ]
    columns["row"] = list(rows)
    columns["key"] = [key_of(row) for row in rows] if keys is None else list(keys)
    columns["uid"] = [
        _uid(unit, row, url, file_name, caption, sha256)
        for row, url, file_name, caption, sha256 in zip(
            rows, *(source.column(name).to_pylist() for name in ("url", "file_name", "caption")), columns["sha256"], strict=True
        )
    ]
    arrays = [pa.array(columns[field.name], field.type) if field.name in columns else source.column(field.name) for field in RAW]
    carried = [field for field in source.schema if field.name not in SOURCE.names]
    table = pa.table([*arrays, *(source.column(field.name) for field in carried)], schema=pa.schema([*RAW, *carried]))
    return blanked(table, np.array([outcome.blocked_by is not None for outcome in outcomes], bool))


def _uid(unit: str, row: int, url: str | None, file_name: str | None, caption: str | None, sha256: str | None) -> str:
    """uid_of; where there is neither url nor image, the file's name, or the row's place, stands for the image."""
    return uid_of(url=url, sha256=sha256 or file_name or f"{unit}:{row}", caption=caption)


def why_deferred(source: pa.Table, outcomes: Sequence[Outcome], network_up: NetworkUp, *, again: bool = False) -> str | None:
    """Why the unit must not be committed: too much of it ended in a way that says nothing about the images. None when it may be.

    Silent are rows that failed by the network and rows that were postponed. Where most rows are silent, network_up is asked: if hosts that
    answered before do not now, the network is down. Else what came is kept, and --retry_failed asks again for the rest: a unit may be slow
    because its hosts want it (Crawl-delay, --rate_per_host), and would never be done if it had to begin anew each time. It is deferred only
    where nothing came: most rows were postponed, or all of at least FEWEST_ROWS are silent and no host answered before.
    again: of a follow-up, whose rows had all failed before: that they fail again says nothing of our network, and the next one asks for them
    again. It is deferred only where hosts that answered before do not any more.
    """
    given = source.column("status").to_pylist()
    asked = [outcome for status, outcome in zip(given, outcomes, strict=True) if status is None and outcome.status not in _NEVER_ASKED]
    postponed = sum(outcome.status == "postponed" for outcome in asked)
    words = Counter(word for outcome in asked if (word := error_word(outcome.error_message)) in NETWORK_WORDS)
    failed = words.total()
    if postponed + failed <= MOST * len(asked):
        return None
    up = network_up()
    told = []
    if failed:
        named = ", ".join(f"{word} {count}" for word, count in sorted(words.items()))
        told.append(f"{'all' if failed == len(asked) else f'{failed} of {len(asked)}'} rows failed: {named}")
    if postponed:
        told.append(f"{postponed} of {len(asked)} rows were postponed at the unit's deadline")
    if up is False:
        return "; ".join([*told, "hosts that answered before do not answer either"])
    if again or any(map(_came, asked)):
        return None
    if postponed > MOST * len(asked) or (up is None and postponed + failed == len(asked) >= FEWEST_ROWS):
        return "; ".join(told)
    return None


def _came(outcome: Outcome) -> bool:
    """Whether something came when the row was asked for: the image, or any answer. Of most that were refused nobody was asked."""
    if outcome.status == "refused":
        return outcome.took is not None and error_word(outcome.error_message) not in _UNASKED
    return outcome.status != "postponed" and error_word(outcome.error_message) not in NETWORK_WORDS
