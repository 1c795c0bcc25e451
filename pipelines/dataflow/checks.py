"""What must hold for a graph before it is given to Dataflow. Each check says what it found, and what to do where something is wrong."""

import base64
import bz2
import pickletools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from apache_beam import coders
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.pipeline import AppliedPTransform
from apache_beam.pvalue import AsSingleton

from pipelines.coders import RecordBatchCoder
from pipelines.dataflow.translate import Graph, is_beams
from schemas.store import is_url

SCORING: Final = "Score"  # the step that may ask for machines of its own
# The side inputs there are, and what bounds each. A worker holds them whole: whatever is not here is refused until somebody has thought about it.
BOUNDS: Final = {
    "Check hosts/When all are asked": "one number",
    "Select/Left out": "names of follow-up units, 20 bytes each: at most one a unit and round of --retry_failed",
    "Select/Decide": "one number for each rule with top_fraction",
}
# "the job's graph size must not exceed 10 MB" (cloud.google.com/dataflow/docs/request-quotas; its limit of a request is 20 MB).
MOST_BYTES: Final = 10_000_000
_READABLE: Final = re.compile(r"[A-Z][A-Za-z0-9 ,'-]{0,59}")
_PINNED: Final = re.compile(r".+@sha256:[0-9a-f]{64}|.+/[^/:@]+:(?!latest$)[\w][\w.-]*")


@dataclass(frozen=True)
class Found:
    """what: the check. told: what was found, and where `ok` is false, what to do."""

    what: str
    ok: bool
    told: str


def names(graph: Graph) -> Found:
    """Labels are unique, and those that we gave can be read in the console."""
    full = [step.full_label for step in graph.steps]
    twice = sorted({label for label in full if full.count(label) > 1})
    ours = [(step.full_label, label_of(step)) for step in graph.steps if not is_beams(step.parent)]
    unreadable = [full for full, label in ours if not _READABLE.fullmatch(label)]
    told = f"{len(ours)} of ours, {len(full) - len(ours)} of Beam's within them"
    if twice or unreadable:
        told = f"give these a name of their own, in words: {', '.join(map(repr, [*twice, *unreadable]))}"
    return Found("step names", not twice and not unreadable, told)


def hints(graph: Graph, asked: bool) -> Found:
    """Resource hints are on scoring where they were asked for, on nothing else, and scoring is not fused with what comes before it."""
    there = graph.hints()
    elsewhere = sorted(name for name in there if name.split("/")[0] != SCORING)
    if elsewhere:
        return Found("resource hints", False, f"also on {', '.join(elsewhere)}: machines that scoring needs would wait there")
    scoring = [step for step in graph.steps if step.full_label.split("/")[0] == SCORING and not step.parts]
    if asked and scoring and not there:
        return Found("resource hints", False, "--score_accelerator or --score_min_ram is given, and scoring does not carry it")
    fused = [step.full_label for step in scoring if step.full_label in there and not _comes_from_shuffle(step)]
    if fused:
        return Found("resource hints", False, f"{', '.join(fused)} is fused with the step before: put a Reshuffle between")
    told = "; ".join(
        f"{name}: {', '.join(f'{hint} {value}' for hint, value in sorted(values.items()))}" for name, values in sorted(there.items())
    )
    return Found("resource hints", True, told or ("none asked for" if scoring else "none"))


def side_inputs(graph: Graph) -> Found:
    """Every side input is one value, with a bound that is written down."""
    there = [(step.full_label, side) for step in graph.steps if not is_beams(step.parent) for side in step.side_inputs]
    wrong = [f"{label} ({type(side).__name__})" for label, side in there if label not in BOUNDS or not isinstance(side, AsSingleton)]
    if wrong:
        return Found("side inputs", False, f"no bound is known, so every worker may hold all of them: {', '.join(wrong)}")
    return Found("side inputs", True, "; ".join(f"{label}: {BOUNDS[label]}" for label, _ in there) or "none")


def batches(graph: Graph) -> Found:
    """A PCollection of RecordBatches is coded as Arrow IPC, not pickled."""
    typed = [
        (step.full_label, collection.element_type)
        for step in graph.steps
        for collection in step.outputs.values()
        if "RecordBatch" in str(collection.element_type)
    ]
    pickled = [f"{label} ({kind})" for label, kind in typed if not _has_batch_coder(coders.registry.get_coder(kind))]
    told = f"{len(typed)} PCollections, all as Arrow IPC" if typed else "none cross a step"
    return Found(
        "RecordBatches", not pickled, f"pickled in {', '.join(pickled)}: annotate as tuple[…, pa.RecordBatch]" if pickled else told
    )


def main_module(graph: Graph) -> Found:
    """No pickled function comes from __main__, which is another module on a worker."""
    functions = list(graph.functions())
    captured = sorted(label for label, pickled in functions if "__main__" in strings_of(pickled))
    told = f"{len(functions)} functions, none of __main__"
    return Found(
        "__main__", not captured, f"captured in {', '.join(captured)}: move it to a module that workers import" if captured else told
    )


def size(graph: Graph) -> Found:
    """What Dataflow reads of the job is below its limit."""
    told = (
        f"{graph.request_bytes / 1e6:.2f} MB asked, {graph.staged_bytes / 1e6:.2f} MB staged; Dataflow's limit is {MOST_BYTES / 1e6:.0f} MB"
    )
    fits = max(graph.request_bytes, graph.staged_bytes) <= MOST_BYTES
    return Found("job size", fits, told if fits else f"{told}: a larger --unit_size, --shard_count and --shard_bytes make it smaller")


def image(image: str | None) -> Found:
    """The container is ours, and the same one in a year."""
    if image is None:
        return Found("container", False, "none: give --sdk_container_image; Beam's own has neither pigment nor its models")
    pinned = _PINNED.fullmatch(image) is not None
    return Found("container", pinned, image if pinned else f"{image} moves: name a version (:1.2.3), or better a digest (@sha256:…)")


def flags(options: PipelineOptions) -> Found:
    """The flags without which Dataflow refuses a job are given, and the temporary files have a bucket."""
    cloud = options.view_as(GoogleCloudOptions)
    missing = [name for name in ("project", "region", "temp_location") if getattr(cloud, name) is None]
    if missing:
        return Found("flags", False, f"missing: {', '.join(f'--{name}' for name in missing)}")
    if not str(cloud.temp_location).startswith("gs://"):
        return Found("flags", False, f"--temp_location {cloud.temp_location}: Dataflow wants a folder of a bucket, gs://…")
    account = cloud.service_account_email or "Compute Engine's default account, which may do too much: give --service_account_email"
    return Found("flags", True, f"project {cloud.project}, region {cloud.region}; workers are {account}")


def places(dataset: str, source: str | None) -> Found:
    """Workers reach the dataset and the source."""
    here = [f"--{name} {place}" for name, place in (("dataset", dataset), ("source", source)) if place is not None and not is_url(place)]
    told = f"{dataset}" + ("" if source is None else f", from {source}")
    return Found("places", not here, f"on this machine, where no worker reaches: {', '.join(here)}; use gs:// or s3://" if here else told)


def of_graph(graph: Graph, *, asked: bool) -> list[Found]:
    """All checks of one graph. asked: whether scoring was given resource hints."""
    each: Sequence[Callable[[Graph], Found]] = (names, lambda graph: hints(graph, asked), side_inputs, batches, main_module, size)
    return [check(graph) for check in each]


def label_of(step: AppliedPTransform) -> str:
    """A step's own name, without those of the steps it is part of."""
    outer = step.parent.full_label if step.parent is not None else ""
    return step.full_label.removeprefix(f"{outer}/") if outer else step.full_label


def strings_of(pickled: bytes) -> set[str]:
    """The strings in what Beam's cloudpickle made: base64 of bz2 of a pickle."""
    return {value for _, value, _ in pickletools.genops(bz2.decompress(base64.b64decode(pickled))) if isinstance(value, str)}


def _comes_from_shuffle(step: AppliedPTransform) -> bool:
    return all(_is_shuffle(collection.producer) for collection in step.main_inputs.values())


def _is_shuffle(step: AppliedPTransform | None) -> bool:
    while step is not None and step.transform is not None:
        if type(step.transform).__name__ in ("Reshuffle", "ReshufflePerKey", "GroupByKey"):
            return True
        step = step.parent
    return False


def _has_batch_coder(coder: coders.Coder) -> bool:
    return isinstance(coder, RecordBatchCoder) or any(_has_batch_coder(part) for part in coder._get_component_coders())
