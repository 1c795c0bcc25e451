"""What people are asked about pairs, and what they answered: the two tables that any review tool can read and write.

    reviews/tasks.parquet             TASKS, one row per pair and question
    reviews/decisions.parquet         ANSWERS, one row per standing answer of a person
    releases/<name>/settled.parquet   SETTLED, one row per pair and question that people agree about, as the release took them

A question is a reason word ("clip:low_similarity": does this reason hold of the pair?) or KEEP ("should the pair be in the set?").
"""

import hashlib
from typing import Final

import pyarrow as pa

from schemas.columns import field

TASKS_PATH: Final = "reviews/tasks.parquet"
ANSWERS_PATH: Final = "reviews/decisions.parquet"
KEEP: Final = "keep"  # the question that is no reason
ANSWER_WORDS: Final = ("yes", "no", "unsure")
QUEUES: Final = {
    "review": "pairs that the policy sends to people",
    "kept": "a random sample of what the policy keeps",
    "dropped": "a random sample of what the policy drops",
    "gold": "pairs whose answer is known",
}

TASKS: Final = pa.schema(
    [
        field("task", pa.string(), meaning="identity: task_of(uid, question)"),
        field("uid", pa.string(), meaning="identity of the pair"),
        field("question", pa.string(), meaning="a reason of schemas.reasons, or keep"),
        field("queue", pa.string(), meaning="a word of QUEUES"),
        field("release", pa.string(), meaning="the release whose verdict is asked about"),
        field("verdict", pa.string(), meaning="keep, review or drop, there"),
        field("reasons", pa.list_(pa.string()), meaning="its reasons, there"),
        field("caption", pa.string(), meaning="as the policy would write it: of the version that it takes, redacted where it says so"),
        field("unit", pa.string(), meaning="the pool's unit"),
        field("row", pa.int32(), meaning="row in the unit"),
        field("tar", pa.string(), meaning="path of the unit's tar, below the dataset"),
        field("offset", pa.int64(), meaning="of the image's bytes in the tar"),
        field("size", pa.int64(), meaning="of the image's bytes"),
        field("column", pa.string(), meaning="what the rule asked about looks at; null for keep"),
        field("value", pa.string(), meaning="the pair's value there, as text; null where not measured"),
        field("bound", pa.string(), meaning="the rule's bound, as text: '>= 0.11'"),
        field("license", pa.string(), meaning="licence as the source says it"),
        field("license_url", pa.string(), meaning="licence URL as the source says it"),
        field("creator", pa.string(), meaning="as the source says it"),
        field("title", pa.string(), meaning="as the source says it"),
        field("source_page", pa.string(), meaning="as the source says it"),
        field(
            "sampling_probability", pa.float64(), meaning="with which the pair came into its queue; 1 for a queue taken whole", range=(0, 1)
        ),
        field("overlap", pa.int32(), meaning="how many people are to answer, without seeing each other's answers", range=(1, None)),
        field("gold", pa.string(), meaning="the known answer of a gold item, yes or no; else null"),
        field("order", pa.int32(), meaning="place in its queue, from 0; made from hashes"),
    ]
)

ANSWERS: Final = pa.schema(
    [
        field("task", pa.string(), meaning="identity of the task"),
        field("uid", pa.string(), meaning="identity of the pair"),
        field("question", pa.string(), meaning="a reason of schemas.reasons, or keep"),
        field("answer", pa.string(), meaning="yes, no or unsure"),
        field("reviewer", pa.string(), meaning="name of the account"),
        field("time", pa.timestamp("ms", "UTC"), meaning="when it was given"),
        field("sampling_probability", pa.float64(), meaning="of the task", range=(0, 1)),
        field("queue", pa.string(), meaning="of the task, a word of QUEUES"),
        field("release", pa.string(), meaning="of the task"),
        field("reasons", pa.list_(pa.string()), meaning="why the pair should not be in the set, where keep was answered with no"),
        field("note", pa.string(), meaning="what the person wrote; null for nothing"),
        field("seconds", pa.float32(), meaning="from being shown to being answered", range=(0, None)),
        field("revealed", pa.bool_(), meaning="whether the sharp image was looked at"),
        field("adjudicates", pa.bool_(), meaning="whether it settles a conflict: then it alone counts"),
        field("tool", pa.string(), meaning="what the answer was given with, and its version"),
    ]
)

SETTLED: Final = pa.schema(
    [
        field("uid", pa.string(), meaning="identity of the pair"),
        field("question", pa.string(), meaning="a reason of schemas.reasons, or keep"),
        field("answer", pa.string(), meaning="yes or no"),
    ]
)  # sorted by uid and question


def task_of(uid: str, question: str) -> str:
    """Identity of the question about the pair: 32 hex digits of SHA-256."""
    return hashlib.sha256(f"{uid}:{question}".encode()).hexdigest()[:32]
