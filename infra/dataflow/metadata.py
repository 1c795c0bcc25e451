"""A Flex Template's metadata.json, made from the flags of the main job.

python -m infra.dataflow.metadata > infra/dataflow/metadata.json
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, Final

from pipelines import options
from pipelines.flags import parser

# Why a flag is no parameter. Every other flag is one.
LEFT_OUT: Final = {
    **dict.fromkeys(("plan", "check_job", "what_if", "against", "json"), "they print and stop"),
    **dict.fromkeys(("runner", "running_mode", "workers"), "the runner is Dataflow; --max_num_workers is among its own options"),
    **dict.fromkeys(("gates", "take_over"), "a launcher does not publish"),
    **dict.fromkeys(
        ("hosts", "clip_checkpoint", "clip_label", "nsfw_head", "person_names", "deepfake_probe", "c2pa_trust"),
        "files: build them into an image made from this one, with a launch.py that names them",
    ),
    **dict.fromkeys(
        ("host_map", "allow_private_hosts", "resolver"), "they take the guard from addresses that a cloud's machines must not ask"
    ),
}
REQUIRED: Final = ("dataset", "stop_after")
_NUMBER: Final = r"^[0-9]+(\.[0-9]+)?$"
_WHOLE: Final = r"^[1-9][0-9]*$"
REGEXES: Final[dict[Callable | None, str]] = {
    options.positive: _WHOLE,
    options.share: r"^(0?\.[0-9]*[1-9][0-9]*|1(\.0+)?)$",
    options.size_in_bytes: r"^[0-9]+(\.[0-9]+)? ?([kKmMgG][iI]?)?[bB]?$",
    options.mapping: r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$",
    options.accelerator: rf"^{options.ACCELERATOR}$",
    options.memory: r"^[0-9]+(\.[0-9]+)? ?([KMGTP]i?)?B$",
    int: r"^[0-9]+$",
    float: _NUMBER,
    None: r"^[^\s].*$",
}
# Where a flag's words ask for more than its type does.
OWN: Final = {
    "dataset": r"^gs://[a-z0-9][a-z0-9._-]+[a-z0-9]/.+$",
    "source": r"^(gs|s3)://.+$",
    "release": r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    "contact": r"^(\S+@\S+\.\S+|https?://\S+)$",
    "reviews": r"^(none|gs://.+)$",
}


def metadata() -> dict[str, Any]:
    """What metadata.json holds."""
    actions = [action for action in parser()._actions if action.option_strings and action.dest not in ("help", *LEFT_OUT)]
    return {
        "name": "Pigment: caption-image pairs",
        "description": "One graph of the main job: fetch and score into the pool (stop_after score), or select, or shard. See infra/DATAFLOW.md.",
        "streaming": False,
        "parameters": [parameter(action) for action in actions],
    }


def parameter(action: argparse.Action) -> dict[str, Any]:
    """A flag as a parameter of the template."""
    found: dict[str, Any] = {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": _help(action),
        "isOptional": action.dest not in REQUIRED,
    }
    if isinstance(action, argparse._StoreTrueAction):
        return {**found, "paramType": "BOOLEAN", "defaultValue": "false"}
    if action.choices is not None:
        values = [str(choice) for choice in action.choices]
        return {**found, "paramType": "ENUM", "enumOptions": [{"value": value} for value in values], **_default(action)}
    kind = action.type if callable(action.type) else None
    return {**found, "paramType": "TEXT", "regexes": [OWN.get(action.dest, REGEXES[kind])], **_default(action)}


def _help(action: argparse.Action) -> str:
    several = " (several: with commas between)" if isinstance(action, argparse._AppendAction) else ""
    return f"{(action.help or '').replace('%%', '%')}{several}"


def _default(action: argparse.Action) -> dict[str, str]:
    """A default that is the same on every machine, and possible there."""
    wanted = action.default is not None and action.dest not in REQUIRED and not isinstance(action, argparse._AppendAction)
    return {"defaultValue": str(action.default)} if wanted else {}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(metadata(), indent=2, ensure_ascii=False) + "\n")
