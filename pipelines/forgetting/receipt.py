"""What a removal did, and what it cannot reach: put as removals/<id>/done.json, and told to whoever asked for it."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.forgetting.logs import Logs
from pipelines.forgetting.releases import Followed
from pipelines.forgetting.reviews import Reviewed
from pipelines.forgetting.units import Units
from quality.command import as_typed, this_python
from schemas.removals import Request


def receipt_of(
    request: Request, plan: pa.Table, *, units: Units, releases: Followed, reviews: Reviewed, logs: Logs, others: Sequence[str]
) -> dict[str, Any]:
    """As it is stored. It names no pair: units, releases and files alone. Of a run that went on after a kill, counts are of that run."""
    twins = int(pc.sum(plan["twin"]).as_py() or 0)
    return {
        "request": asdict(request),
        "ended": time.time(),
        "pairs": {"named": plan.num_rows - twins, "twins": twins},
        "units": units.units,
        "releases": asdict(releases),
        "reviews": asdict(reviews),
        "logs": asdict(logs),
        "other_files": list(others),
        "not_reached": {
            "tars_of_the_user": list(units.user_tars),
            "files_of_captions": list(units.caption_files),
            "releases_that_are_gone": sorted(releases.successors),
        },
    }


def lines_of(receipt: dict[str, Any], dataset: str) -> list[str]:
    """A receipt for the screen."""
    request, pairs, releases = receipt["request"], receipt["pairs"], receipt["releases"]
    lines = [
        f"Removal {request['id']}: {request['reason']}" + (f" (asked by {request['asked_by']})" if request["asked_by"] else ""),
        f"  pairs      {pairs['named']:,} named, and {pairs['twins']:,} with the same picture or address; in {receipt['units']:,} units",
    ]
    lines += [f"  release    {old} is gone; its successor is {new}" for old, new in releases["successors"].items()]
    lines += [
        f"  release    {name} is NOT published, a gate stopped it: python -m pipelines.publish --dataset {dataset} --release {name}"
        for name in releases["unpublished"]
    ]
    lines += [f"  release    {name} was begun and not published; it is cleared: run ingest again" for name in releases["cleared"]]
    lines += _reviews_and_files(receipt)
    lines += ["", "what cannot be reached from here"]
    lines += [f"  your own tar, which is never changed: {tar}" for tar in receipt["not_reached"]["tars_of_the_user"]]
    lines += [f"  your own file of captions: {name}" for name in receipt["not_reached"].get("files_of_captions", ())]
    gone = receipt["not_reached"]["releases_that_are_gone"]
    if gone:
        lines.append(f"  models that were trained on {', '.join(gone)}: their cards name the release")
    lines += [
        "  copies, exports and backups of the dataset; object versions that the bucket keeps; logs that lie elsewhere",
        "  a PostgreSQL's write-ahead log, replicas and backups; a review's database that was not named (--database)",
        "",
        "Neither ingest nor select takes the pictures back, nor what lies within PDQ distance 31 of one that was named.",
        f"next: {this_python()} -m pipelines.forget --dataset {as_typed(dataset)} --check {request['id']}",
    ]
    return lines


def _reviews_and_files(receipt: dict[str, Any]) -> list[str]:
    reviews, logs, lines = receipt["reviews"], receipt["logs"], []
    for path, rows in reviews["rows"].items():
        lines.append(f"  reviews    {rows:,} rows out of {path}")
    if reviews["tasks"] is not None:
        lines.append(f"  reviews    {reviews['tasks']:,} tasks out of the database, with all that was answered about them")
    if logs["lines"] or logs["deleted"]:
        lines.append(f"  logs       {logs['lines']:,} lines out of {logs['logs']} logs; {logs['deleted']} logs deleted")
    return lines + [f"  deleted    {path}" for path in receipt["other_files"]]
