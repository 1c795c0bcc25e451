"""Tars for tests, written by Python's own tarfile, and pictures to put into them."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.pipelines.fetching import jpeg


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], *, kind: int = tarfile.PAX_FORMAT, mtime: float = 0) -> Path:
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime  # type: ignore[assignment]  # webdataset gives fractions of a second, too
            tar.addfile(info, io.BytesIO(data))
    return path


def shot(number: int) -> bytes:
    """A JPEG of its own for every small number: neighbouring shades would be one file."""
    return jpeg(12 * number)


def sample(key: str, number: int, text: str | None = "a caption", /, **columns: Any) -> list[tuple[str, bytes]]:
    """An image, its caption, and a JSON when there are columns."""
    texts = [] if text is None else [(f"{key}.txt", text.encode())]
    return [(f"{key}.jpg", shot(number)), *texts, *([(f"{key}.json", json.dumps(columns).encode())] if columns else [])]
