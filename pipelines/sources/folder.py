"""A directory of images with sidecars: name.jpg with name.txt (the caption) or name.json (caption and known columns).

The sorted listing of the directory is the file; a row is an image. An image without a sidecar is a row without a caption.
"""

import hashlib
import json
from pathlib import Path

from pipelines.sources.formats import Chunk, Row, columns_of
from pipelines.sources.listing import IMAGE_SUFFIXES


def images_in(folder: Path) -> list[Path]:
    """The directory's images, sorted by name; folders below it are files of their own."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def listing_digest(folder: Path) -> str:
    """SHA-256 over name and size of every image and name, size and content of every sidecar."""
    hasher = hashlib.sha256()
    for image in images_in(folder):
        hasher.update(f"{image.name}\0{image.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        for sidecar in (image.with_suffix(".txt"), image.with_suffix(".json")):
            if sidecar.is_file():
                content = sidecar.read_bytes()
                hasher.update(f"{sidecar.name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return hasher.hexdigest()


def read_folder(root: Path, folder: str, start: int, rows: int) -> Chunk:
    """Rows start .. start + rows of a directory's listing."""
    return columns_of([_row(root, image, line) for line, image in enumerate(images_in(root / folder)[start : start + rows], start + 1)])


def _row(root: Path, image: Path, line: int) -> Row:
    values = {"file_name": str(image.relative_to(root))}
    text, data = image.with_suffix(".txt"), image.with_suffix(".json")
    try:
        if data.is_file():
            found = json.loads(data.read_text("utf-8"))
            if not isinstance(found, dict):
                return Row(line, None, f"bad_row: {data.name} holds a JSON {type(found).__name__}, not an object")
            values = {**{str(key): value for key, value in found.items() if key not in ("url", "file_name")}, **values}
        if text.is_file():
            values["caption"] = text.read_text("utf-8").strip()
    except (ValueError, OSError) as error:
        return Row(line, None, f"bad_row: {error}")
    return Row(line, values)
