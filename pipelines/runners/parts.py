"""What an engine on this machine is made of: where it lies, and in which versions. `make runners` (infra/runners) puts it there."""

import os
from pathlib import Path
from typing import Final

from pipelines.options import UsageError
from schemas.cache import cache_dir

PLACE: Final = "PIGMENT_RUNNERS"  # environment variable: another folder for the parts
# Prism as Beam's Python SDK is. The newest Java runners that every Maven mirror we tried has whole; they run this SDK (infra/RUNNERS.md).
PRISM: Final = "v2.77.0"
BEAM_JAVA, SPARK, FLINK = "2.62.0", "3.5.0", "1.19.0"

FOLDERS: Final = {
    "prism": f"prism-{PRISM}",
    "spark": f"spark-{SPARK}-beam-{BEAM_JAVA}",
    "flink": f"flink-{FLINK}-beam-{BEAM_JAVA}",
}


def place() -> Path:
    """$PIGMENT_RUNNERS, else `runners` in our cache folder."""
    return Path(os.environ.get(PLACE) or cache_dir() / "runners")


def parts_of(engine: str) -> Path:
    """The folder of "prism", "spark" or "flink". Raises UsageError when it is not there."""
    folder = place() / FOLDERS[engine]
    if not folder.is_dir():
        raise UsageError(
            f"{engine.capitalize()} is not set up on this machine: type `make runners` (once; it comes into {place()}); "
            "or name an engine of your own, as with --job_endpoint HOST:PORT (infra/RUNNERS.md)"
        )
    return folder
