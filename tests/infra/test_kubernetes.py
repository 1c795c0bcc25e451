"""infra/kubernetes by schema: Kubernetes' own for what is its own; the operator's, where its definition is named, for the FlinkDeployment.

PIGMENT_FLINK_CRD=FILE: flinkdeployments.flink.apache.org-v1.yml of the Flink operator (half a MB, so not in this repository; 1.15.0 was
checked). Nothing was started: there is no cluster here.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipelines.flags import parser
from tests.conftest import ROOT

FOLDER = ROOT / "infra" / "kubernetes"
CRD = os.environ.get("PIGMENT_FLINK_CRD")
KUBERNETES = "1.31"


def objects() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        found += [(f"{path.stem}/{each['kind']}/{each['metadata']['name']}", each) for each in yaml.safe_load_all(path.read_text())]
    return found


OBJECTS = dict(objects())
CORE = {name: each for name, each in OBJECTS.items() if each["apiVersion"] in ("v1", "apps/v1", "batch/v1")}
ARGUMENTS = OBJECTS["ingest/Job/ingest"]["spec"]["template"]["spec"]["containers"][0]["args"]


def pods(each: Any) -> Iterator[dict[str, Any]]:
    """Every list of containers in an object, with what stands beside it."""
    if isinstance(each, dict):
        if "containers" in each:
            yield each
        for value in each.values():
            yield from pods(value)


@pytest.mark.parametrize("name", CORE)
def test_kubernetes_own_by_its_schema(name):
    kubernetes_validate.validate(CORE[name], KUBERNETES, strict=True)


def test_the_schema_would_notice():
    wrong = {**CORE["ingest/Job/ingest"], "spec": {**CORE["ingest/Job/ingest"]["spec"], "backofLimit": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_the_operators_by_its_schema():
    if CRD is None:
        pytest.skip("not run: PIGMENT_FLINK_CRD names no definition of FlinkDeployment")
    others = {name: each for name, each in OBJECTS.items() if name not in CORE}
    assert list(others) == ["flink/FlinkDeployment/pigment-flink"]
    definition = yaml.safe_load(Path(CRD).read_text())["spec"]
    for each in others.values():
        assert each["apiVersion"].split("/")[0] == definition["group"] and each["kind"] == definition["names"]["kind"]
        (version,) = [version for version in definition["versions"] if version["name"] == each["apiVersion"].split("/")[1]]
        jsonschema.validate(each, closed(version["schema"]["openAPIV3Schema"]))


def closed(schema: Any) -> Any:
    """Unknown fields are refused, as Kubernetes does with --validate=strict; but in what the operator leaves open, and in metadata."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if (
        isinstance(found.get("properties"), dict)
        and found.get("type") == "object"
        and not found.get("x-kubernetes-preserve-unknown-fields")
    ):
        found.setdefault("additionalProperties", False)
        found["properties"].update({"apiVersion": {}, "kind": {}, "metadata": {}} if "spec" in found["properties"] else {})
    return found


def test_who_calls_whom_is_there():
    """Names of services, ports and volumes that objects speak of."""
    text = {path.stem: path.read_text() for path in FOLDER.glob("*.yaml")}
    for name in ("flink", "spark"):
        service = OBJECTS[f"{name}/Service/job-server"]
        ports = {port["port"] for port in service["spec"]["ports"]}
        told = {int(port) for port in re.findall(r"--(?:job|artifact)_endpoint=job-server:(\d+)", text["ingest"])}
        assert told == ports == {int(port) for port in re.findall(r"--(?:job|artifact)-port=(\d+)", text[name])}
        server = OBJECTS[f"{name}/Deployment/job-server-{name}"]["spec"]["template"]
        assert service["spec"]["selector"] == server["metadata"]["labels"]
    assert "--flink-master=pigment-flink-rest:8081" in text["flink"]  # the operator's name for it: the deployment's, -rest
    assert "spark://spark-master:7077" in text["spark"] and "spark/Service/spark-master" in OBJECTS
    for each in OBJECTS.values():
        for pod in pods(each.get("spec", {})):
            volumes = {volume["name"] for volume in pod.get("volumes", ())}
            assert {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", ())} <= volumes


def test_python_workers_stand_beside_what_asks_for_them():
    asked = next(argument for argument in ARGUMENTS if argument.startswith("--environment_config="))
    beside = [
        name for name, each in OBJECTS.items() for pod in pods(each) for one in pod["containers"] if one.get("args") == ["--worker_pool"]
    ]
    assert asked.endswith("localhost:50000") and beside == ["flink/FlinkDeployment/pigment-flink", "spark/Deployment/spark-workers"]


def test_nobody_of_ours_is_root():
    for name, each in CORE.items():
        for pod in pods(each):
            assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"], name
            for container in pod["containers"]:
                assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name
                assert container["resources"]["requests"] and container["resources"]["limits"]["memory"], name


def test_the_main_job_takes_its_arguments():
    args, beam_flags = parser().parse_with_beam(ARGUMENTS)
    assert args.runner == "PortableRunner" and "--environment_type=EXTERNAL" in beam_flags


def test_versions_are_those_of_the_job_servers():
    image = (FOLDER / "job-server.Dockerfile").read_text()
    beam, spark = (re.search(rf"^ARG {name}=(.+)$", image, re.MULTILINE)[1] for name in ("BEAM", "SPARK"))  # type: ignore[index]
    assert (beam, spark) == ("2.62.0", "3.5.0") and any(f"beam-runners-spark-3-{beam}.jar" in argument for argument in ARGUMENTS)
    flink = OBJECTS["flink/FlinkDeployment/pigment-flink"]["spec"]
    assert flink["image"].startswith("flink:1.19.") and flink["flinkVersion"] == "v1_19"
