"""Folders that are made once a machine and reused: models put together from wheels and this repository, named by the digest of their parts."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/pigment`, else `~/.cache/pigment`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pigment"


def built_once(name: str, build: Callable[[Path, Path], None], cache: Path | None = None) -> Path:
    """The folder `name` below `cache` (cache_dir()), made by `build` at the first call and reused after it.

    build: fills its first argument, a new folder, which will then be renamed to the second. The folder appears by that one rename: processes
    that build at the same time end with the same folder.
    """
    folder = (cache or cache_dir()).absolute() / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=folder.parent))
        try:
            build(building, folder)
            building.chmod(0o755)  # mkdtemp's folders are for their maker alone; an image is built as one user and run as another
            try:
                building.rename(folder)
            except OSError:
                if not folder.is_dir():  # a folder that is there was made by another process from the same parts
                    raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder
