"""A directory of images with sidecars: name.jpg with name.txt (the caption) or name.json (caption and known columns).

The sorted listing of the directory is the file; a row is an image. An image without a sidecar is a row without a caption.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipelines.sources.formats import Chunk, Row, columns_of
from pipelines.sources.listing import IMAGE_SUFFIXES
from pipelines.sources.places import Place, RemotePath, below, size_of

_AT_ONCE: Final = 16  # sidecars behind a URL that are read at a time


def images_in(folder: Place) -> list[Place]:
    """The directory's images, sorted by name; folders below it are files of their own."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def listing_digest(folder: Place) -> str:
    """SHA-256 over name and size of every image and name, size and content of every sidecar."""
    hasher = hashlib.sha256()
    for image, sidecars in _with_sidecars(images_in(folder)):
        hasher.update(f"{image.name}\0{size_of(image)}\0".encode("utf-8", "surrogateescape"))
        for suffix, content in sidecars.items():
            name = image.with_suffix(suffix).name
            hasher.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return hasher.hexdigest()


def read_folder(root: Place, folder: str, start: int, rows: int) -> Chunk:
    """Rows start .. start + rows of a directory's listing."""
    images = images_in(root / folder)[start : start + rows]
    return columns_of([_row(root, image, sidecars, line) for line, (image, sidecars) in enumerate(_with_sidecars(images), start + 1)])


def _with_sidecars(images: Sequence[Place]) -> Iterator[tuple[Place, dict[str, bytes]]]:
    """Each image with what its sidecars hold, by suffix: `.txt` first."""

    def read(image: Place) -> dict[str, bytes]:
        paths = ((suffix, image.with_suffix(suffix)) for suffix in (".txt", ".json"))
        return {suffix: path.read_bytes() for suffix, path in paths if path.is_file()}

    if not images or not isinstance(images[0], RemotePath):
        yield from ((image, read(image)) for image in images)
        return
    with ThreadPoolExecutor(_AT_ONCE) as readers:
        yield from zip(images, readers.map(read, images), strict=True)


def _row(root: Place, image: Place, sidecars: Mapping[str, bytes], line: int) -> Row:
    values = {"file_name": below(image, root)}
    text, data = sidecars.get(".txt"), sidecars.get(".json")
    try:
        if data is not None:
            found = json.loads(data.decode("utf-8"))
            if not isinstance(found, dict):
                return Row(line, None, f"bad_row: {image.with_suffix('.json').name} holds a JSON {type(found).__name__}, not an object")
            values = {**{str(key): value for key, value in found.items() if key not in ("url", "file_name")}, **values}
        if text is not None:
            values["caption"] = text.decode("utf-8").strip()
    except ValueError as error:
        return Row(line, None, f"bad_row: {error}")
    return Row(line, values)
