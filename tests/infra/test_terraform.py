"""infra/terraform: written as terraform writes it, valid by the provider's own schema, and planned offline.

The provider is no package of an index. Where its program lies in a filesystem mirror, name the folder: PIGMENT_TERRAFORM_PROVIDERS=DIR
(DIR/registry.terraform.io/hashicorp/google/7.45.0/linux_amd64/terraform-provider-google_v7.45.0_x5).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "infra" / "terraform"
MIRROR = os.environ.get("PIGMENT_TERRAFORM_PROVIDERS")
GOOD: dict[str, Any] = {
    "project": "my-project", "region": "us-central1", "bucket": "my-data", "image_version": "0.1.0", "schedule": "0 3 * * 1",
    "parameters": {"source": "gs://my-data/lists/*.parquet", "contact": "me@example.org"},
}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="not run: terraform is not installed")
planned = pytest.mark.skipif(MIRROR is None, reason="not run: PIGMENT_TERRAFORM_PROVIDERS names no mirror with the google provider")


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "GOOGLE_OAUTH_ACCESS_TOKEN": "nobody's"}
    if MIRROR is not None:
        environment["TF_CLI_CONFIG_FILE"] = str(folder / "mirror.rc")
    return subprocess.run(["terraform", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(FOLDER, tmp_path_factory.mktemp("terraform") / "t", ignore=shutil.ignore_patterns(".terraform*")))
    (folder / "mirror.rc").write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{MIRROR}" }}\n}}\n')
    begun = terraform(folder, "init", "-input=false", "-no-color")
    assert begun.returncode == 0, begun.stderr
    return folder


def plan(folder: Path, **changed: Any) -> subprocess.CompletedProcess:
    (folder / "given.tfvars.json").write_text(json.dumps({**GOOD, **changed}))
    return terraform(folder, "plan", "-no-color", "-input=false", "-refresh=false", "-var-file=given.tfvars.json", "-out=plan")


def test_it_is_written_as_terraform_writes_it():
    assert terraform(FOLDER, "fmt", "-check", "-recursive").stdout == ""


@planned
def test_it_is_valid_by_the_providers_schema(ready):
    checked = json.loads(terraform(ready, "validate", "-json").stdout)
    assert checked["valid"] and not checked["warning_count"], checked["diagnostics"]


@planned
def test_what_it_would_make(ready):
    made = plan(ready)
    assert made.returncode == 0, made.stderr
    told = json.loads(terraform(ready, "show", "-json", "plan").stdout)
    resources: dict[str, list[dict]] = {}
    for each in told["planned_values"]["root_module"]["resources"]:
        resources.setdefault(each["type"], []).append(each["values"])
    for bucket in resources["google_storage_bucket"]:
        assert bucket["uniform_bucket_level_access"] and bucket["public_access_prevention"] == "enforced"
    granted = {each["role"] for kind, found in resources.items() if kind.endswith("_iam_member") for each in found if each.get("role")}
    assert not granted & {"roles/owner", "roles/editor", "roles/dataflow.admin", "roles/storage.admin"}
    launch = json.loads(told["planned_values"]["outputs"]["launch"]["value"])["launchParameter"]
    assert launch["parameters"]["stop_after"] == "score" and launch["environment"]["ipConfiguration"] == "WORKER_IP_PRIVATE"
    parameters = {each["name"] for each in json.loads((ROOT / "infra/dataflow/metadata.json").read_text("utf-8"))["parameters"]}
    assert launch["parameters"].keys() <= parameters


@planned
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"region": "us-central1-a"}, "a zone"),
        ({"image_version": "latest"}, "another image tomorrow"),
        ({"parameters": {}}, "A schedule needs a source"),
        ({"parameters": {"source": "gs://a/b", "dataset": "gs://a/c"}}, "dataset comes from"),
        ({"max_workers": 0}, "whole number from 1"),
        ({"schedule": "weekly"}, "Five fields"),
    ],
)
def test_what_it_refuses(ready, changed, told):
    refused = plan(ready, **changed)
    assert refused.returncode != 0 and told in " ".join(refused.stderr.replace("│", " ").split())


@planned
def test_without_schedule_and_network(ready):
    made = plan(ready, schedule=None, private_network=False, parameters={})
    assert made.returncode == 0, made.stderr
    assert "google_compute_network" not in made.stdout and "google_cloud_scheduler_job" not in made.stdout
