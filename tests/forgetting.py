"""A small whole dataset to take pairs out of: real pictures and tars, two releases of a line, a review with its database, logs, a report."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.forget import forget
from pipelines.forget import main as forget_main
from pipelines.forgetting.request import read_ids
from pipelines.publish import publish
from pipelines.shards import MEMBERS, ShardWriter
from pipelines.steps.write_shards import generations_after, references_of_line, shards_of
from pipelines.tar import TarWriter
from quality.gates import GateResults
from quality.images import Target
from quality.review.server.database import open_database, url_of
from quality.review.server.load import load_tasks
from quality.traces.views import picture_of
from schemas.columns import HOSTS, RAW, REQUESTS, table_of, uid_of
from schemas.policy import parse_policy
from schemas.pool import Pool
from schemas.release import DECISIONS, Release, heartbeat
from schemas.reviews import ANSWERS, SETTLED, TASKS, TASKS_PATH, task_of
from schemas.units import SourceFile
from tests.pools import FILE, PASS, SCORES, thumbnail, unit
from tests.trust.traces import Needles, Trace, traces

ROWS, UNITS, SHARDS = 8, 3, 4  # pairs of a unit; units, of which the last one came with the second release; shards of the first
_POLICY = 'name = "test"\n[[rule]]\ncolumn = "clip.similarity"\nmin = 0.1\nreason = "clip:low_similarity"\n'
KEPT = ("keep", "keep", "keep", "keep", "keep", "review", "drop")  # then one that was not found


@lru_cache(maxsize=64)
def picture(seed: int) -> bytes:
    """A JPEG of soft blobs, whose PDQ is good and far from all others'."""
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(cv2.resize(pixels, (192, 160), interpolation=cv2.INTER_CUBIC)).save(out, "jpeg", quality=90)
    found = picture_of(out.getvalue())
    assert found is not None and found[1] >= 50
    return out.getvalue()


def twin(data: bytes, quality: int = 70) -> bytes:
    """The same picture in other bytes: smaller, and as WebP."""
    out = io.BytesIO()
    image = Image.open(io.BytesIO(data))
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(out, "webp", quality=quality)
    return out.getvalue()


@dataclass
class Pair:
    """A pair of the dataset, as its pool has it."""

    unit: str
    row: int
    url: str
    caption: str
    creator: str
    uid: str
    data: bytes | None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data or b"").hexdigest()

    def needles(self) -> Needles:
        """Everything by which the pair could be known again; its creator is not among it, who may have made others."""
        found = Needles()
        found.text("caption", self.caption)
        found.text("url", self.url)
        found.digest("uid", bytes.fromhex(self.uid))
        if self.data is not None:
            found.image("image", self.data)
        return found


@dataclass
class Dataset:
    """root: of the dataset. pairs: all of its pool, by unit and row."""

    root: Path
    pairs: list[Pair]

    @property
    def pool(self) -> Pool:
        return Pool(self.root)

    def of(self, chunk: int, row: int) -> Pair:
        return self.pairs[chunk * ROWS + row]

    def copy(self, root: Path) -> "Dataset":
        return Dataset(Path(shutil.copytree(self.root, root)), self.pairs)


def make_dataset(root: Path, *, twins: Sequence[tuple[int, int]] = ((2, 3),)) -> Dataset:
    """Twins: (chunk, row) of pairs whose picture is that of pair (0, 1) in other bytes, under another address."""
    pool, pairs = Pool(root), list[Pair]()
    root.mkdir(parents=True)
    starts = tuple(range(0, UNITS * ROWS, ROWS))
    pool.put_file(SourceFile(FILE, str(root.parent), "pairs.csv", "rows", 1, "digest", UNITS * ROWS, ROWS, starts, starts))
    pool.adopt_settings("source", {"sources": [], "unit_size": ROWS, "fetch": {"store": "original"}})
    pool.adopt_settings("engines", {"clip": "onnx"})
    pool.put_pass(PASS)
    first = None
    for name, chunks in (("one", range(UNITS - 1)), ("two", range(UNITS - 1, UNITS))):
        for chunk in chunks:
            pairs += _add_unit(pool, chunk, root.parent, [row for other, row in twins if other == chunk])
        first = _release(pool, name, range(chunks.stop), first)
    origins = ("http://pictures.test:80", "http://others.example:80")
    readings = [{"origin": origin, "robots_answer": "ok", "robots": f"Sitemap: {origin}/map".encode()} for origin in origins]
    pool.put_hosts("0", table_of(readings, HOSTS))
    _review(pool)
    page = "".join(
        f'<p>{pair.caption}</p><img src="data:image/jpeg;base64,{base64.b64encode(pair.data).decode()}">' for pair in pairs if pair.data
    )
    Release(pool.store, "two").put_derived("report/report.html", f"<html>{page}</html>".encode())
    pool.store.put("report.html", f"<html>{page}</html>".encode())
    (root / "logs").mkdir()
    lines = [f"12:00:0{pair.row} INFO x: asked for {pair.url}, caption {pair.caption!r}\n" for pair in pairs]
    (root / "logs" / "ingest.log").write_text("begin\n" + "".join(lines) + "end\n", "utf-8")
    return Dataset(root, pairs)


def _add_unit(pool: Pool, chunk: int, folder: Path, twins: Sequence[int]) -> list[Pair]:
    name, rows, pairs, requests = unit(chunk), list[dict[str, Any]](), list[Pair](), list[dict[str, Any]]()
    path = folder / f"{chunk}.tar"
    with TarWriter(path) as tar:
        for row in range(ROWS):
            url, caption = f"http://pictures.test/{chunk}/a-{row}.jpg?w=1", f"그림 of blobs, number {row} of {chunk}"
            uid, creator = uid_of(url=url, sha256=None, caption=caption), f"Maker {row % 3}"
            data = None if row == len(KEPT) else twin(picture(1)) if row in twins else picture(100 * chunk + row)
            pairs.append(Pair(name, row, url, caption, creator, uid, data))
            known: dict[str, Any] = {"row": row, "url": url, "caption": caption, "uid": uid, "creator": creator, "source_line": row + 1}
            known |= {
                "license_url": "https://creativecommons.org/licenses/by/4.0/",
                "title": f"title {row} of {chunk}",
                "key": f"{row:06d}",
            }
            if data is None:
                rows.append({**known, "status": "failed_to_download", "error_message": "http_404"})
            else:
                found, form = picture_of(data), "webp" if row in twins else "jpeg"
                assert found is not None
                size = Image.open(io.BytesIO(data)).size
                offset = tar.add(f"{row:06d}.{'jpg' if form == 'jpeg' else form}", data)
                scores = {"image.pdq": found[0], "image.pdq_quality": found[1], "image.thumbnail": thumbnail((row, chunk, 9))}
                scores |= {"clip.similarity": 0.5 + row / 50, "nsfw.open_nsfw": 0.01, "image.width": size[0], "image.height": size[1]}
                places = {"offset": offset, "size": len(data), "width": size[0], "height": size[1], "format": form, "final_url": url}
                rows.append({**known, **places, **scores, "status": "success", "sha256": pairs[-1].sha256})
            requests.append({"row": row, "host": "pictures.test", "seconds": 0.1, "requests": 1, "bytes": 1000 + row})
    commit = pool.commit(name, table_of(rows, RAW), tar=path, input_digest=f"input {chunk}")
    path.unlink(missing_ok=True)
    pool.commit_scores(PASS.name, name, table_of(rows, SCORES), input_digest=commit.content_digest)
    pool.put_requests(name, table_of(requests, REQUESTS))
    return pairs


def _release(pool: Pool, name: str, chunks: Sequence[int], parent: Release | None) -> Release:
    """Published; with a parent, its decisions again, and a generation of one shard for what is new."""
    release = Release(pool.store, name)
    generations = generations_after(parent, SHARDS if parent is None else 1)
    policy = parse_policy(_POLICY, where="test.toml").as_dict()
    run = {
        "digest": hashlib.sha256(name.encode()).hexdigest(), "policy": policy, "policy_digest": "p" * 64, "passes": [PASS.name],
        "shards": generations.total, "generations": generations.told(), "parent": None if parent is None else parent.name,
        "inherits": None if parent is None else parent.name, "referenced": {}, "target": {"resize": "no", "format": "original"},
        "reviews": None, "started": 1.0, "heartbeat": {**heartbeat(), "pid": 2**22 + 1},
    }  # fmt: skip
    kept = [pa.table([[], [], []], schema=MEMBERS)]
    settled = []
    for chunk in chunks:
        raw = pool.read_raw(unit(chunk)).to_pylist()
        rows = [_decided(pair, raw) for pair in raw]
        schema = DECISIONS.append(SCORES.field("clip.similarity"))
        scores = pool.read_scores(PASS.name, unit(chunk), ["clip.similarity"])["clip.similarity"].to_pylist()
        release.put_decisions(
            unit(chunk), table_of([{**row, "clip.similarity": score} for row, score in zip(rows, scores, strict=True)], schema)
        )
        members = [{"uid": row["uid"], "unit": unit(chunk), "row": row["row"]} for row in rows if row["verdict"] == "keep"]
        kept.append(pa.Table.from_pylist(members, MEMBERS))
        settled += [{"uid": row["uid"], "question": "keep", "answer": "yes"} for row in rows[:2]]
    table = pa.Table.from_pylist(sorted(settled, key=lambda row: row["uid"]), SETTLED)
    run["reviews"] = {"digest": release.put_settled(table), "settled": table.num_rows, "pairs": table.num_rows}
    release.put_run(run)
    members = pa.concat_tables(kept)
    places = [generations.place(name) for name in members["unit"].to_pylist()]
    shards = np.array([first + shards_of(members["uid"].slice(at, 1), count)[0] for at, (first, count) in enumerate(places)])
    writer = ShardWriter(pool, release, Target("no", format="original"), score_columns=[(PASS.name, ["clip.similarity"])], parent=parent)
    list(writer.write([(number, members.filter(pa.array(shards == number))) for number in range(generations.total)]))
    release.put_run({**run, "referenced": references_of_line(release, parent)})
    publish(pool, release, gates=no_gates, allow_missing=True)
    return release


def _decided(pair: dict[str, Any], raw: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row = pair["row"]
    if row == len(KEPT):
        return {"row": row, "uid": pair["uid"], "verdict": "drop", "reasons": ["fetch:failed_to_download"], "error": "http_404"}
    told: dict[str, Any] = {"row": row, "uid": pair["uid"], "verdict": KEPT[row], "reasons": []}
    if KEPT[row] == "drop":  # it lost to pair 1
        told |= {"reasons": ["duplicate:near"], "duplicate_of": raw[1]["uid"]}
    elif KEPT[row] == "review":
        told |= {"reasons": ["clip:low_similarity"]}
    return told


def _review(pool: Pool) -> None:
    """Tasks about all pairs with an image, an answer to each of the first three of a unit, and a database with both."""
    tasks, answers = [], []
    for name in sorted(pool.committed()):
        commit = pool.raw_commit(name)
        assert commit is not None
        for pair in pool.read_raw(name).to_pylist():
            if pair["status"] != "success":
                continue
            told = {key: pair[key] for key in ("uid", "caption", "row", "offset", "size", "license_url", "creator", "title")}
            identity = task_of(pair["uid"], "keep")
            more = {"unit": name, "tar": commit.tar, "queue": "kept", "release": "two", "verdict": "keep", "reasons": [], "overlap": 1}
            tasks.append({"task": identity, "question": "keep", "order": len(tasks), "sampling_probability": 1.0, **told, **more})
            if pair["row"] < 3:
                note = f"I know this: {pair['caption']}"
                answers.append({"task": identity, "uid": pair["uid"], "question": "keep", "answer": "yes", "reviewer": "ann", "note": note})
    for path, rows, schema in ((TASKS_PATH, tasks, TASKS), ("reviews/decisions.parquet", answers, ANSWERS)):
        pool.put_parquet(path, table_of(rows, schema), {}, put=pool.store.put)
    add_answers(pool, url_of(pool.store, None))


def add_answers(pool: Pool, url: str) -> None:
    """Loads the tasks into a database, and puts an answer with the pair's caption as its note into the journal for every second of them."""
    from sqlalchemy import select, update

    from quality.review.server.audit import Actor, record
    from quality.review.server.models import seats, tasks

    database = open_database(url)
    load_tasks(database, pool)
    with database.write() as connection:
        for task, caption in connection.execute(select(tasks.c.task, tasks.c.caption).order_by(tasks.c.task)).all()[::2]:
            number = record(connection, Actor(), "answer", task=task, answer="yes", note=f"seen: {caption}")
            connection.execute(update(seats).where(seats.c.task == task).values(state="answered", record=number))
            record(connection, Actor(), "undo", task=task, undoes=number)
    database.close()


def write_ids(path: Path, ids: Sequence[str]) -> Path:
    path.write_text("".join(f"{each}\n" for each in ids), "utf-8")
    return path


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def run_forget(dataset: Dataset, *flags: str | Path) -> int:
    return forget_main(["--dataset", str(dataset.root), *map(str, flags)])


def no_gates(*_: object) -> GateResults:
    return GateResults(())


def forget_quickly(root: str | Path, ids: str | Path, flag: str = "urls", reason: str = "r", **more: Any) -> int:
    """As the command, without gates: they take seconds."""
    return forget(Pool(root), read_ids(str(ids), flag), reason=reason, gates=no_gates, **more)


def left(dataset: Dataset, *pairs: Pair) -> list[Trace]:
    """Traces of the pairs; the digests by which removals know them are none."""
    found = [trace for pair in pairs for trace in traces([dataset.root], pair.needles())]
    return [trace for trace in found if not re.search(r"/removals/[0-9a-f]{12}/entries\.parquet", trace.where)]


def contents(root: Path) -> dict[str, bytes]:
    """All files of a dataset, but for what a clock is in."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and not name.startswith("reviews/review.sqlite"):
            data = path.read_bytes()
            if path.name in ("request.json", "run.json", "done.json"):
                data = json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
            found[name] = data
    return found


def _timeless(value: Any) -> Any:
    """Without times, the process that wrote it, and counts of what one run did."""
    if isinstance(value, dict):
        untold = ("when", "ended", "heartbeat", "logs", "reviews", "other_files", "units", "cleared")
        return {
            key: _timeless(inner) for key, inner in value.items() if key not in untold or (key == "reviews" and "digest" in (inner or {}))
        }
    return [_timeless(each) for each in value] if isinstance(value, list) else value
