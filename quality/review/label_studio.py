"""Label Studio: its labelling configuration, our tasks as its tasks, its exported annotations as our answers.

Images travel in the tasks themselves, as data URLs: no storage is set up, no link can go stale, and nothing else of the dataset is reachable.
The blurred image is shown; the sharp one is behind a panel that is closed. What would sway a person stays here: the verdict, what was
measured and its bound, known answers.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

import pyarrow as pa

from quality.command import UsageError
from quality.review.elsewhere import AGAINST, Answers, ask, time_of
from schemas.reasons import reason_text


def labelling(*, sharp: bool) -> str:
    """The labelling configuration (XML) of a project. sharp: whether images are shown sharp at once."""
    closed = '  <Collapse>\n    <Panel value="sharp"><Image name="sharp" value="$sharp"/></Panel>\n  </Collapse>\n'
    reasons = "".join(f"    <Choice value={quoteattr(reason)} hint={quoteattr(reason_text(reason))}/>\n" for reason in AGAINST)
    return (
        '<View>\n  <Header value="$ask"/>\n  <Image name="image" value="$image"/>\n'
        + ("" if sharp else closed)
        + '  <Text name="caption" value="$caption"/>\n  <Text name="source" value="$source"/>\n'
        '  <Choices name="answer" toName="image" choice="single" required="true" showInline="true">\n'
        '    <Choice value="yes" hotkey="y"/>\n    <Choice value="no" hotkey="n"/>\n    <Choice value="unsure" hotkey="u"/>\n  </Choices>\n'
        '  <Choices name="reasons" toName="image" choice="multiple" visibleWhen="choice-selected" whenTagName="answer" whenChoiceValue="no">\n'
        f"{reasons}  </Choices>\n"
        '  <TextArea name="note" toName="image" maxSubmissions="1" placeholder="note"/>\n</View>\n'
    )


def task_out(task: Mapping[str, Any], image: bytes, blurred: bytes, *, sharp: bool) -> dict[str, Any]:
    """One row of TASKS as Label Studio imports it."""
    source = ", ".join(str(task[name]) for name in ("license", "creator", "title") if task[name])
    data = {"task": task["task"], "uid": task["uid"], "question": task["question"], "ask": ask(task["question"])}
    data |= {"caption": task["caption"] or "", "source": source, "image": _url(image if sharp else blurred)}
    return {"data": data if sharp else {**data, "sharp": _url(image)}}


def answers_in(text: str, where: str, tasks: pa.Table) -> pa.Table:
    """ANSWERS from Label Studio's export in its format JSON. An annotation that is its ground truth adjudicates; one that was skipped is none."""
    try:
        exported = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON ({error}); export from Label Studio in the format JSON") from error
    if not isinstance(exported, list):
        raise UsageError(f"{where}: not a list of tasks; export from Label Studio in the format JSON")
    found = Answers(where, tasks, "Label Studio")
    for row, task in enumerate(exported, 1):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or not isinstance(task.get("annotations"), list):
            raise found.error(row, "no task with data and annotations; export from Label Studio in the format JSON, not JSON-MIN")
        for annotation in task["annotations"]:
            if not isinstance(annotation, dict):
                raise found.error(row, f"{annotation!r} is no annotation; export from Label Studio in the format JSON")
            if not annotation.get("was_cancelled"):
                _add(found, row, task["data"].get("task"), annotation)
    return found.table()


def _add(found: Answers, row: int, task: Any, annotation: Mapping[str, Any]) -> None:
    values = dict[str, list[str]]()
    result = annotation.get("result") or []
    if not isinstance(result, list):
        raise found.error(row, f"result {result!r} is no list")
    for item in result:
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict) or not isinstance(item.get("from_name"), str):
            raise found.error(row, f"result {item!r} has no from_name and value")
        given = value.get("choices") or value.get("text") or []
        values[item["from_name"]] = given = [given] if isinstance(given, str) else given
        if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
            raise found.error(row, f"{item['from_name']} {given!r} is no list of texts")
    answer = values.get("answer")
    seconds = annotation.get("lead_time")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise found.error(row, f"lead_time {seconds!r} is no number of seconds")
    try:
        time = time_of(annotation.get("updated_at") or annotation.get("created_at"))
    except ValueError as error:
        raise found.error(row, f"time {annotation.get('updated_at')!r} is not in ISO 8601") from error
    found.add(
        row, task, answer[0] if answer and len(answer) == 1 else answer, reviewer=_person(annotation.get("completed_by")),
        reasons=values.get("reasons") or (), adjudicates=bool(annotation.get("ground_truth")), time=time,
        note="\n".join(values.get("note", ())) or None, seconds=seconds,
    )  # fmt: skip


def _person(by: Any) -> str:
    """Exports name people by number, or with their address."""
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    return "" if by is None else str(by)


def _url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"
