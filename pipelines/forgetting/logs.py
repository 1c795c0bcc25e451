"""Logs without the lines that tell of what was removed. Before the pool is touched: only it has the captions in clear."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import pyarrow as pa

from quality.traces.removed import Removed
from schemas.captions import versions
from schemas.pool import Pool
from schemas.removals import Entries
from schemas.store import Store

LINE: Final = b"(a line of this log was removed on request)\n"
_TEXTS: Final = ("url", "final_url", "file_name", "caption", "uid", "sha256", "expected_sha256", "source_id")
_SHORTEST: Final = 6  # characters of a text that is looked for: a shorter one stands in lines about anything
_MOST: Final = 2_000  # texts that every line is held against; of a plan with more, whole logs are deleted


@dataclass(frozen=True)
class Logs:
    """lines: how many were taken out, in how many logs. deleted: logs that went whole."""

    lines: int
    logs: int
    deleted: int


def texts_of(pool: Pool, plan: Mapping[str, Sequence[int]]) -> set[str]:
    """What a log may say of the rows: addresses, captions, digests. Of rows that were taken out already nothing is left."""
    found = set[str]()
    for unit, rows in plan.items():
        tables = [pool.read_raw(unit, _TEXTS)]
        tables += [version.read(unit) for version in versions(pool) if version.commit_of(unit) is not None]
        columns = [column for table in tables for column in table.take(pa.array(rows)).columns]
        found.update(text for column in columns for text in column.to_pylist() if text is not None and len(text) >= _SHORTEST)
    return found


def clean_logs(store: Store, texts: Collection[str], entries: Entries) -> Logs:
    """Rewrites the logs of a dataset without the lines that hold a text, or an address or digest of the entries."""
    store = Store(store.beside)
    logs = [path for path, _ in store.list("logs")]
    if len(texts) > _MOST:
        for path in logs:
            store.delete(path)
        return Logs(0, 0, len(logs))
    removed, patterns, lines, changed = Removed(entries), [form for text in texts for form in _forms(text)], 0, 0
    for path in logs:
        old = store.read(path).splitlines(keepends=True)
        new = [LINE if _tells(line, patterns, removed) else line for line in old]
        gone = sum(line is LINE for line in new)
        if gone:
            store.put(path, b"".join(new))
            lines, changed = lines + gone, changed + 1
    return Logs(lines, changed, 0)


def _tells(line: bytes, patterns: Collection[bytes], removed: Removed) -> bool:
    return any(pattern in line for pattern in patterns) or next(removed.matches(line), None) is not None


def _forms(text: str) -> set[bytes]:
    """As it is, in a log record or JSON, in a url."""
    forms = {text, *text.splitlines(), json.dumps(text)[1:-1], repr(text)[1:-1], quote(text, errors="surrogatepass")}
    return {form.encode("utf-8", "surrogatepass") for form in forms if len(form) >= _SHORTEST}
