"""Tasks to Label Studio and to a sheet, and answers back: checked by Label Studio's own package, and all the way to what is settled."""

import csv
import io
import json
from base64 import b64decode
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from quality.command import UsageError
from quality.images import decode
from quality.review.elsewhere import AGAINST
from quality.review.exchange import main
from quality.review.files import put_table, read_answers, read_tasks
from quality.review.label_studio import labelling
from quality.review.pictures import BLURRED_SIDE, blurred
from quality.review.settle import settle
from quality.review.tasks import make_tasks
from schemas.policy import parse_policy
from schemas.reviews import ANSWERS_PATH, TASKS, TASKS_PATH, task_of
from tests.block_lists import write_lists
from tests.releases import make_release

LOW = "clip:low_similarity"
POLICY = 'name = "p"\n[[rule]]\ncolumn = "clip.similarity"\nmin = 0.1\nreason = "clip:low_similarity"\n'


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A published release with real images: 18 kept pairs, 3 for review and 3 dropped for their similarity; all are asked about."""
    monkeypatch.delenv("PIGMENT_BLOCK_LISTS", raising=False)
    pool, release = make_release(tmp_path)
    release.put_run({**(release.run() or {}), "policy": parse_policy(POLICY, where="p").as_dict()})
    pool.adopt_settings("source", {})
    pool.store.put("releases/latest", release.name.encode())
    put_table(pool.store, TASKS_PATH, make_tasks(pool, release, kept=1, dropped=1, overlap=0))
    return pool


def exchange(pool, *flags):
    return main([*map(str, flags), "--dataset", pool.store.root])


def annotation(answer, *, by, reasons=(), note=None, **more):
    """What Label Studio 1.x exports for one submitted annotation."""
    result = [
        {"id": "a1b2c3", "from_name": "answer", "to_name": "image", "type": "choices", "origin": "manual", "value": {"choices": [answer]}}
    ]
    if reasons:
        value = {"choices": list(reasons)}
        result.append({"id": "d4e5f6", "from_name": "reasons", "to_name": "image", "type": "choices", "origin": "manual", "value": value})
    if note:
        result.append(
            {"id": "g7", "from_name": "note", "to_name": "image", "type": "textarea", "origin": "manual", "value": {"text": [note]}}
        )
    return {
        "id": 7, "completed_by": by, "result": result, "was_cancelled": False, "ground_truth": False, "created_at": "2026-03-01T10:00:00.5Z",
        "updated_at": "2026-03-01T10:00:04.250000Z", "lead_time": 4.25, "prediction": {}, "result_count": 0, "task": 3, **more,
    }  # fmt: skip


def exported(out, said):
    """The imported tasks as Label Studio gives them back: said(data) -> annotations."""
    return [
        {"id": number, "annotations": said(task["data"]), "data": task["data"], "meta": {}, "project": 1, "drafts": [], "predictions": []}
        for number, task in enumerate(out, 1)
    ]


def test_label_studios_own_package_accepts_tasks_and_annotations(dataset, tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="label-studio-sdk is not installed (extra label-studio)")
    assert exchange(dataset, "out", "label_studio", tmp_path / "t.json") == 0
    checked = interface.LabelInterface((tmp_path / "t.xml").read_text("utf-8"))
    checked.validate()
    out = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert len(out) == 24 and all(checked.validate_task(task) for task in out)
    assert not checked.validate_task({"data": {name: value for name, value in out[0]["data"].items() if name != "sharp"}})
    whole = annotation("no", by=1, reasons=AGAINST, note="한국어 & <b>")
    assert checked.validate_annotation(whole) and not checked.validate_annotation(annotation("maybe", by=1))
    interface.LabelInterface(labelling(sharp=True)).validate()


def test_from_tasks_by_label_studio_to_what_is_settled(dataset, tmp_path, capsys):
    exchange(dataset, "out", "label_studio", tmp_path / "t.json")
    out = json.loads((tmp_path / "t.json").read_text("utf-8"))
    told = {"task", "uid", "question", "ask", "caption", "source", "image", "sharp"}
    assert all(set(task["data"]) == told for task in out), "no verdict, measured value, bound or known answer: it would sway a person"
    uids = {question: [task["data"]["uid"] for task in out if task["data"]["question"] == question] for question in ("keep", LOW)}
    kept, low = uids["keep"], uids[LOW]
    plan = {
        kept[0]: [annotation("no", by={"id": 4, "email": "kim@example.org"}, reasons=[LOW], note="a dog")],
        kept[1]: [annotation("no", by=1), annotation("yes", by=2)],
        kept[2]: [annotation("no", by=1), annotation("no", by=2), annotation("yes", by=9, ground_truth=True)],
        kept[3]: [annotation("no", by=1, was_cancelled=True)],
        low[0]: [annotation("no", by=1, updated_at="2026-03-01T09:00:00Z"), annotation("yes", by=1)],
        low[1]: [annotation("unsure", by=1)],
    }
    (tmp_path / "e.json").write_text(json.dumps(exported(out, lambda data: plan.get(data["uid"], []))), "utf-8")
    assert exchange(dataset, "in", "label_studio", tmp_path / "e.json") == 0
    assert "8 answers are in" in capsys.readouterr().out
    answers = read_answers(dataset.store)
    found = settle(answers)
    assert {(row["uid"], row["question"]): row["answer"] for row in found.settled.to_pylist()} == {
        (kept[0], "keep"): "no", (kept[2], "keep"): "yes", (low[0], LOW): "yes",
    }  # fmt: skip
    assert found.unsettled == 2
    first = next(row for row in answers.to_pylist() if row["reviewer"] == "kim@example.org")
    assert first["tool"].startswith("Label Studio, by pigment ")
    assert first == {
        "task": task_of(kept[0], "keep"), "uid": kept[0], "question": "keep", "answer": "no", "reviewer": "kim@example.org",
        "time": datetime(2026, 3, 1, 10, 0, 4, 250_000, tzinfo=UTC), "sampling_probability": 1.0, "queue": "kept", "release": "one",
        "reasons": [LOW], "note": "a dog", "seconds": 4.25, "revealed": None, "adjudicates": False, "tool": first["tool"],
    }  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(exported(out[:1], lambda _: [annotation("yes", by={"email": "kim@example.org"})])), "utf-8")
    exchange(dataset, "in", "label_studio", tmp_path / "f.json")
    assert read_answers(dataset.store).num_rows == 8 + (out[0]["data"]["uid"] != kept[0])


def test_images_are_small_upright_and_blurred(dataset, tmp_path):
    exchange(dataset, "out", "label_studio", tmp_path / "t.json", "--side", "32", "--queue", "review")
    out = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert len(out) == 3
    for name, size in (("sharp", (32, 24)), ("image", (256, 192))):
        head, _, data = out[0]["data"][name].partition(",")
        image = Image.open(io.BytesIO(b64decode(data)))
        assert head == "data:image/jpeg;base64" and image.size == size and not image.getexif()
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    left = decode(blurred(stripes)).astype(int)
    assert BLURRED_SIDE == 24 and np.ptp(left) < 40, "what was finer than 24 pixels a side is gone"
    exchange(dataset, "out", "label_studio", tmp_path / "s.json", "--sharp", "--queue", "review")
    assert "sharp" not in json.loads((tmp_path / "s.json").read_text("utf-8"))[0]["data"]


def test_a_sheet_goes_round(dataset, tmp_path):
    tasks = read_tasks(dataset.store)
    place = TASKS.get_field_index("caption")
    put_table(dataset.store, TASKS_PATH, tasks.set_column(place, TASKS.field(place), [["=HYPERLINK(1)"] * tasks.num_rows]))
    assert exchange(dataset, "out", "csv", tmp_path / "sheet.csv") == 0
    rows = list(csv.DictReader((tmp_path / "sheet.csv").open(encoding="utf-8", newline="")))
    told = {"task", "question", "ask", "caption", "license", "creator", "title", "image", "sharp"}
    assert set(rows[0]) == told | {"answer", "reasons", "note", "reviewer"}, "no verdict, measured value, bound or known answer"
    assert len(rows) == 24 and {row["caption"] for row in rows} == {"'=HYPERLINK(1)"}
    shown = [decode((tmp_path / row[name]).read_bytes()).shape for row in rows[:2] for name in ("image", "sharp")]
    assert shown == [(192, 256, 3), (48, 64, 3)] * 2
    by_uid = {row["uid"]: row for row in tasks.to_pylist() if row["question"] == "keep"}

    filled = [row for row in rows if row["question"] == "keep"]
    filled[0] |= {"answer": "No", "reasons": f"{LOW}, nsfw:high", "note": "no", "reviewer": "lee"}
    filled[1] |= {"answer": "yes"}
    with (tmp_path / "back.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert exchange(dataset, "in", "csv", tmp_path / "back.csv", "--reviewer", "kim") == 0
    found = {row["reviewer"]: row for row in read_answers(dataset.store).to_pylist()}
    assert set(found) == {"lee", "kim"} and found["lee"]["reasons"] == [LOW, "nsfw:high"] and found["lee"]["answer"] == "no"
    assert found["kim"]["uid"] in by_uid and found["kim"]["queue"] == "kept" and found["kim"]["time"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task: task["data"].update(task="0" * 32), "row 2: unknown task '0000"),
        (lambda task: task.update(annotations=[annotation("maybe", by=1)]), "row 2: answer 'maybe' is not yes, no or unsure"),
        (lambda task: task.update(annotations=[annotation("no", by=1, reasons=["ugly"])]), "row 2: reason 'ugly' is not one of"),
        (lambda task: task.update(annotations=[annotation("no", by=None)]), "row 2: nobody is named"),
        (lambda task: task.update(annotations=[annotation("no", by=1, updated_at="noon")]), "row 2: time 'noon' is not in ISO 8601"),
        (lambda task: task.update(annotations=[{**annotation("no", by=1), "result": []}]), "row 2: answer None"),
        (lambda task: task.update(annotations=[None]), "row 2: None is no annotation"),
        (lambda task: task.update(annotations=[{**annotation("no", by=1), "result": "no"}]), "row 2: result 'no' is no list"),
        (lambda task: task.update(annotations=[{**annotation("no", by=1), "result": ["no"]}]), "row 2: result 'no' has no from_name"),
        (lambda task: task.update(annotations=[annotation({"a": 1}, by=1)]), r"row 2: answer \[{'a': 1}\] is no list of texts"),
        (lambda task: task.update(annotations=[annotation("no", by=1, lead_time="4 s")]), "row 2: lead_time '4 s' is no number of seconds"),
        (lambda task: task.pop("annotations"), "row 2: no task with data and annotations"),
    ],
)
def test_a_bad_annotation_stops_the_import(dataset, tmp_path, change, message):
    exchange(dataset, "out", "label_studio", tmp_path / "t.json")
    tasks = exported(json.loads((tmp_path / "t.json").read_text("utf-8")), lambda _: [annotation("yes", by=1)])
    change(tasks[1])
    (tmp_path / "e.json").write_text(json.dumps(tasks), "utf-8")
    with pytest.raises(UsageError, match=f"e.json: {message}"):
        exchange(dataset, "in", "label_studio", tmp_path / "e.json")
    assert not dataset.store.exists(ANSWERS_PATH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task,answer\nTASK,yes\nffff,no\n", "row 2: unknown task 'ffff'"),
        ("task,answer\nTASK,perhaps\n", "row 1: answer 'perhaps'"),
        ("task,answer,time\nTASK,no,noon\n", "row 1: time 'noon'"),
        ("task,reply\nTASK,no\n", "no column 'answer'; columns are task, reply"),
    ],
)
def test_a_bad_row_of_a_sheet_stops_the_import(dataset, tmp_path, text, message):
    task = read_tasks(dataset.store)["task"][0].as_py()
    (tmp_path / "s.csv").write_text(text.replace("TASK", task), "utf-8")
    with pytest.raises(UsageError, match=f"s.csv: {message}"):
        exchange(dataset, "in", "csv", tmp_path / "s.csv", "--reviewer", "kim")
    assert not dataset.store.exists(ANSWERS_PATH)


def test_nothing_is_overwritten_and_no_name_of_a_task_is_a_path(dataset, tmp_path):
    (tmp_path / "t.json").write_text("mine")
    with pytest.raises(UsageError, match=r"t\.json: File exists"):
        exchange(dataset, "out", "label_studio", tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text() == "mine"
    tasks = read_tasks(dataset.store)
    names = ["../../evil", *tasks["task"].to_pylist()[1:]]
    put_table(dataset.store, TASKS_PATH, tasks.set_column(0, TASKS.field(0), [names]))
    with pytest.raises(UsageError, match=r"task '\.\./\.\./evil' is no identity"):
        exchange(dataset, "out", "csv", tmp_path / "s.csv")
    with pytest.raises(UsageError, match="not JSON"):
        exchange(dataset, "in", "label_studio", tmp_path / "t.json")


def test_no_answer_about_a_pair_that_is_listed_now_stays(dataset, tmp_path, monkeypatch, capsys):
    """One is answered before it is listed, one after; both go, all others stay."""
    path = tmp_path / "t.json"
    assert exchange(dataset, "out", "label_studio", path) == 0
    out = json.loads(path.read_text("utf-8"))
    back = tmp_path / "e.json"
    back.write_text(json.dumps(exported(out[:2], lambda _: [annotation("yes", by=1)])))
    assert exchange(dataset, "in", "label_studio", back) == 0
    before = read_answers(dataset.store)["uid"].to_pylist()
    at = {row["uid"]: row["url"] for unit in dataset.committed() for row in dataset.read_raw(unit, ["uid", "url"]).to_pylist()}
    tasks = {row["task"]: row["uid"] for row in read_tasks(dataset.store).to_pylist()}
    new = [tasks[task["data"]["task"]] for task in out[2:5]]
    gone = {before[0], new[0]}
    monkeypatch.setenv("PIGMENT_BLOCK_LISTS", str(write_lists(tmp_path / "lists", {"urls": [at[uid] for uid in gone]})))
    back.write_text(json.dumps(exported(out[2:5], lambda _: [annotation("yes", by=1)])))
    assert exchange(dataset, "in", "label_studio", back) == 0
    assert sorted(read_answers(dataset.store)["uid"].to_pylist()) == sorted({*before, *new} - gone)
    assert "3 in all; 2 about pairs on a block list now are left out\n" in capsys.readouterr().out
