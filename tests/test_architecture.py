"""The house: who may import whom, and what works without Beam."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_BLOCKED = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "apache_beam" or name.startswith("apache_beam."):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".") if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
assert not any(name.startswith("apache_beam") for name in sys.modules)
print(len(names))
"""


@pytest.mark.parametrize("package", ["schemas", "quality", "training"])
def test_works_without_beam(package):
    found = subprocess.run([sys.executable, "-c", _BLOCKED, package], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 5


def test_the_block_would_notice():
    found = subprocess.run([sys.executable, "-c", _BLOCKED, "pipelines"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode != 0 and "apache_beam is blocked" in found.stderr


def test_imports_point_one_way():
    found = subprocess.run([str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_top_level_is_as_agreed():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    agreed = {"pyproject.toml", "pipelines", "schemas", "quality", "training", "tests", "infra", "README.md"}
    agreed |= {"Makefile", "requirements.lock", "LICENSE", "NOTICE", "MODEL_NOTICES.md"}
    assert {name.split("/")[0] for name in names if not name.startswith(".")} <= agreed


def test_every_runtime_dependency_is_installed_from_the_lock():
    """The packages that our user fixed are importable."""
    for name in ("apache_beam", "webdataset", "open_clip", "img2dataset", "pyarrow", "pandas", "torch", "great_expectations", "pytest"):
        assert importlib.util.find_spec(name) is not None, name
