"""Review with another tool: tasks out, answers in. `python -m quality.review exchange --help`."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from quality.block_lists import listed_uids, read_lists
from quality.command import EXIT_DONE, Parser, UsageError, say
from quality.review import label_studio, sheet
from quality.review.files import merged, put_table, read_answers, read_tasks
from quality.review.pictures import pictures_of
from quality.review.shown import without_listed
from quality.review.tasks import find_release
from schemas.pool import Pool
from schemas.reviews import ANSWERS, ANSWERS_PATH, QUEUES

_TASK: Final = re.compile(r"[0-9a-f]{32}")  # what may name a file
_EXAMPLES = """examples:
  python -m quality.review exchange out label_studio tasks.json --dataset cats
      tasks.json to import, with the images in it, and tasks.xml for the project's labelling interface
  python -m quality.review exchange in label_studio export.json --dataset cats
      an export in Label Studio's format JSON; its ground truths adjudicate
  python -m quality.review exchange out csv sheet.csv --dataset cats --queue review
      a sheet, and its images in sheet-images/; fill in answer (yes, no, unsure), reasons, note and reviewer
  python -m quality.review exchange in csv sheet.csv --dataset cats --reviewer kim

Answers join those in reviews/decisions.parquet; an answer of the same person to the same task takes the older one's place. A row that cannot be
taken stops the import, and nothing is written. What is on a block list now is not given out, and
no answer about it stays.

exit codes: 0 done   2 wrong use   70 a bug   130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code. Raises what quality.command.command turns into messages."""
    args = _parser().parse_args(argv)
    pool = Pool(args.dataset)
    find_release(pool, None)
    say((_out if args.way == "out" else _in)(pool, args))
    return EXIT_DONE


def _out(pool: Pool, args: argparse.Namespace) -> str:
    tasks = read_tasks(pool.store)
    if args.queue is not None:
        tasks = tasks.filter(pc.is_in(tasks["queue"], pa.array(args.queue)))
    tasks = without_listed(pool, tasks)
    if wrong := next((task for task in tasks["task"].to_pylist() if not _TASK.fullmatch(task)), None):
        raise UsageError(f"{pool.store.root}: task {wrong!r} is no identity; make the tasks with python -m quality.review tasks")
    tasks = tasks.sort_by([("queue", "ascending"), ("order", "ascending")])
    written = (_label_studio_out if args.tool == "label_studio" else _sheet_out)(pool, tasks, Path(args.file), args)
    left = tasks.num_rows - written
    return f"{written:,} tasks are in {args.file}" + (f"; {left:,} are left out, for their images cannot be decoded" if left else "")


def _label_studio_out(pool: Pool, tasks: pa.Table, path: Path, args: argparse.Namespace) -> int:
    rows = tasks.to_pylist()
    pictures = pictures_of(pool, tasks, side=args.side)
    found = {row: label_studio.task_out(rows[row], image, blurred, sharp=args.sharp) for row, image, blurred in pictures}
    _write(path, json.dumps([found[row] for row in sorted(found)], ensure_ascii=False, indent=1))
    _write(path.with_suffix(".xml"), label_studio.labelling(sharp=args.sharp))
    return len(found)


def _sheet_out(pool: Pool, tasks: pa.Table, path: Path, args: argparse.Namespace) -> int:
    rows, folder = tasks.to_pylist(), path.with_name(f"{path.stem}-images")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; give another file, its images go beside it") from error
    found = dict[int, tuple[dict[str, Any], str, str]]()
    for row, image, blurred in pictures_of(pool, tasks, side=args.side):
        sharp, shown = (folder / f"{rows[row]['task']}{end}.jpg" for end in ("", "-blurred"))
        sharp.write_bytes(image)
        if not args.sharp:
            shown.write_bytes(blurred)
        found[row] = (rows[row], f"{folder.name}/{(sharp if args.sharp else shown).name}", f"{folder.name}/{sharp.name}")
    _write(path, sheet.sheet_out(found[row] for row in sorted(found)))
    return len(found)


def _in(pool: Pool, args: argparse.Namespace) -> str:
    try:
        text = Path(args.file).read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{args.file}: {error.strerror}; give the file with the answers") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{args.file}: not UTF-8: {error}") from error
    tasks = read_tasks(pool.store)
    if args.tool == "label_studio":
        new = label_studio.answers_in(text, args.file, tasks)
    else:
        new = sheet.answers_in(text, args.file, tasks, reviewer=args.reviewer)
    standing = read_answers(pool.store) if pool.store.exists(ANSWERS_PATH) else ANSWERS.empty_table()
    both = merged(standing, new)
    free = both.filter(pc.invert(pc.is_in(both["uid"], value_set=listed_uids(pool, read_lists(pool.store), both["uid"])))).combine_chunks()
    put_table(pool.store, ANSWERS_PATH, free)
    again, listed = standing.num_rows + new.num_rows - both.num_rows, both.num_rows - free.num_rows
    return (
        f"{new.num_rows:,} answers" + (f", {again:,} of them in the place of older ones," if again else "")
        + f" are in {pool.store.path_of(ANSWERS_PATH)}, {free.num_rows:,} in all"
        + (f"; {listed:,} about pairs on a block list now are left out" if listed else "") + "\n"
        f"next: python -m pipelines.ingest --dataset {args.dataset} --start_at select\n"
        "      (with the --policy of the release that was judged, where it is not the default)"
    )  # fmt: skip


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give another name") from error


def _parser() -> Parser:
    p = Parser(prog="python -m quality.review exchange", description="Give tasks to another tool, and take its answers.", epilog=_EXAMPLES)
    p.add_argument("way", choices=("out", "in"), help="tasks out, or answers in")
    p.add_argument("tool", choices=("label_studio", "csv"), help="whose format")
    p.add_argument("file", metavar="FILE", help="to write, or to read")
    p.add_argument("--dataset", metavar="DIR", required=True, help="folder or URL of the dataset")
    p.add_argument("--queue", choices=tuple(QUEUES), action="append", help="out: only this queue; can be given again")
    p.add_argument("--side", metavar="PIXELS", type=int, default=512, help="out: of the longer side of images")
    p.add_argument("--sharp", action="store_true", help="out: show images sharp at once, not blurred with the sharp one at hand")
    p.add_argument("--reviewer", metavar="NAME", help="in csv: who answered, where the row does not say")
    return p
