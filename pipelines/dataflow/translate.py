"""A graph as Beam's own Dataflow translation makes it, offline: nothing is asked of Google, nothing is submitted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions, WorkerOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as protos
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

from pipelines.environment import environment
from pipelines.options import UsageError

# Keeps Google's libraries from asking the network who we are while nothing is submitted.
_NO_CLOUD: Final = {"NO_GCE_CHECK": "true"}
# What Beam refuses to translate without; the checks say where the user gave none.
STAND_INS: Final = {"project": "stand-in", "region": "us-central1", "temp_location": "gs://stand-in/tmp"}

_COMBINES: Final = frozenset(
    kind.urn
    for kind in (
        common_urns.composites.COMBINE_PER_KEY,
        common_urns.composites.COMBINE_GLOBALLY,
        common_urns.combine_components.COMBINE_PER_KEY_PRECOMBINE,
        common_urns.combine_components.COMBINE_PER_KEY_MERGE_ACCUMULATORS,
        common_urns.combine_components.COMBINE_PER_KEY_EXTRACT_OUTPUTS,
    )
)


@dataclass(frozen=True)
class Graph:
    """name: of the graph. steps: its transforms, composites too, in order. proto: what is staged. request_bytes: of the job's description, as
    JSON; staged_bytes: of the graph that it points to. options: what the job runs with."""

    name: str
    steps: Sequence[AppliedPTransform]
    proto: protos.Pipeline
    request_bytes: int
    staged_bytes: int
    options: PipelineOptions

    def hints(self) -> dict[str, dict[str, str]]:
        """Full label of each step that does work and carries resource hints -> hint -> value."""
        found = {}
        for transform in self.proto.components.transforms.values():
            if not transform.subtransforms and transform.environment_id:
                hints = self.proto.components.environments[transform.environment_id].resource_hints
                if hints:
                    found[transform.unique_name] = {urn.split(":")[-2]: value.decode() for urn, value in hints.items()}
        return found

    def functions(self) -> Iterator[tuple[str, bytes]]:
        """(full label, function as Beam pickled it) of each step that has one."""
        for transform in self.proto.components.transforms.values():
            spec = transform.spec
            function = protos.FunctionSpec()
            if spec.urn == common_urns.primitives.PAR_DO.urn:
                function = protos.ParDoPayload.FromString(spec.payload).do_fn
            elif spec.urn in _COMBINES:
                function = protos.CombinePayload.FromString(spec.payload).combine_fn
            if function.urn in (python_urns.PICKLED_DOFN_INFO, python_urns.PICKLED_COMBINE_FN):
                yield transform.unique_name, function.payload


def translate(name: str, build: Callable[[beam.Pipeline], object], beam_flags: Sequence[str], folder: Path) -> Graph:
    """Builds a graph and translates it. folder: where its files are staged, in the place of the bucket. Raises UsageError without the parts."""
    try:
        from apache_beam.runners.dataflow.internal import apiclient
    except ImportError as error:
        raise UsageError(f"Dataflow's client is not installed ({error}); install pigment with its extra dataflow") from error
    options = PipelineOptions([*beam_flags, "--dry_run", "true"])
    options.view_as(StandardOptions).runner = "DataflowRunner"
    cloud = options.view_as(GoogleCloudOptions)
    for option, value in STAND_INS.items():
        if getattr(cloud, option) is None:
            setattr(cloud, option, value)
    cloud.staging_location = cloud.staging_location or cloud.temp_location
    with environment(_NO_CLOUD):
        pipeline = beam.Pipeline(runner=DataflowRunner(), options=options)
        build(pipeline)
        steps = _steps(pipeline)
        job = pipeline.run().job  # type: ignore[attr-defined]  # a dry run returns it
        staged = folder / name
        staged.mkdir()
        job.google_cloud_options.staging_location, job.google_cloud_options.no_auth = str(staged), True
        client = apiclient.DataflowApplicationClient(job.options)
        client.create_job_description(job)
    return Graph(name, steps, job.proto_pipeline, len(job.json().encode()), _size(staged, "pipeline.pb"), job.options)


def is_beams(step: AppliedPTransform | None) -> bool:
    """Whether a step is one of Beam's own composites; what is within it has Beam's names."""
    return step is not None and step.transform is not None and type(step.transform).__module__.startswith("apache_beam.")


def image_of(graph: Graph) -> str | None:
    return graph.options.view_as(WorkerOptions).sdk_container_image


def _steps(pipeline: beam.Pipeline) -> list[AppliedPTransform]:
    found: list[AppliedPTransform] = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
            if transform_node.transform is not None:  # the root has none
                found.append(transform_node)

        def visit_transform(self, transform_node: AppliedPTransform) -> None:
            found.append(transform_node)

    pipeline.visit(Visitor())
    return found


def _size(folder: Path, name: str) -> int:
    return next(path.stat().st_size for path in folder.rglob("*") if path.name == name)
