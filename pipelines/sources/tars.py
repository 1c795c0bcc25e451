"""WebDataset tars and img2dataset's outputs, indexed in place: rows, and where in the user's tar the image of each row lies.

A sample is all members with one key, the name up to its first dot, wherever in the tar they stand; it is a row, in the order of the first
of them. Its image is the one member whose extension is an image's; `.txt` or `.caption` is the caption, and the keys of `.json` are
columns. Members of other extensions (`.cls`, `.seg.png`) are left alone. Of img2dataset's outputs the Parquet file beside the tar gives the
rows, in its order, those that it could not fetch too, and the tar only the images, joined by `key`.
"""

import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.formats import Chunk, Row, SourceError, columns_of, parquet_rows, read_parquet
from pipelines.sources.img2dataset import COLUMNS, failure_of
from pipelines.sources.places import Place as FilePlace
from pipelines.sources.places import open_bytes
from pipelines.sources.tar_members import MOST_TEXT, Member, Members, members_of
from schemas.digest import digest_of_bytes, digest_of_json
from schemas.store import open_store
from schemas.user_tar import UserTar

IMAGES: Final = frozenset({"jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff"})
_CAPTIONS: Final = ("txt", "caption")
_NAME: Final = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # WebDataset's: key, extension
_MEASURED: Final = ("original_width", "original_height", "exif")  # of the bytes before img2dataset converted them


@dataclass(slots=True)
class Sample:
    """The members of one key, by lower-case extension. twice: extensions that the tar has more than once for this key."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    def image(self) -> Member | str:
        """The sample's one image, or what is wrong with it (error_message)."""
        found = [member for extension, member in self.members.items() if extension in IMAGES]
        if self.twice:
            return f"bad_row: the tar has {_shown(f'{self.key}.{self.twice[0]}')} more than once"
        if len(found) > 1:
            return f"bad_row: several images in a sample, {' and '.join(_shown(member.name) for member in found)}"
        if not found:
            return f"missing_file: the tar has no image of the key {_shown(self.key)}"
        if any(member.cut for member in self.members.values()):
            return "truncated: the tar ends within the sample"
        return found[0]


@dataclass(frozen=True)
class Place:
    """Where the image of a row lies in the user's tar, and what the source says of the bytes before it converted them."""

    key: str
    offset: int
    size: int
    original_width: int | None = None
    original_height: int | None = None
    exif: str | None = None


@dataclass(frozen=True)
class TarChunk:
    """Rows of a tar: places[i] is None where row i has no image, which its error says."""

    rows: Chunk
    places: list[Place | None]


class TarReader:
    """One tar, its members listed. beside: img2dataset's Parquet file of it, below the root; None for a plain WebDataset tar."""

    def __init__(self, root: FilePlace, path: str, *, beside: str | None):
        self.tar = UserTar.of(str(root / path))
        self._root, self._path, self._beside = root, path, beside
        self._members = members_of(root / path)
        self._samples = _samples_of(self._members, keyed=beside is not None)
        if beside is not None:
            self._rows_beside = parquet_rows(open_store(str(root)), beside)

    @cached_property
    def digest(self) -> str:
        """Of all that rows are made of; see Members. Of img2dataset's output with the Parquet file's bytes."""
        if self._beside is None:
            return self._members.digest
        with (self._root / self._beside).open("rb") as file:
            return digest_of_json([self._members.digest, digest_of_bytes(file)])

    @property
    def rows(self) -> int:
        """Samples; one more for a damaged tar, which says that rows may be missing. For img2dataset's output the rows of its Parquet file."""
        return len(self._samples) + (self._members.damage is not None) if self._beside is None else self._rows_beside

    def read(self, start: int, rows: int) -> TarChunk:
        """Rows start .. start + rows."""
        return (
            self._of_samples(start, rows)
            if self._beside is None
            else self._of_parquet(read_parquet(open_store(str(self._root)), self._beside, start, rows))
        )

    def _of_samples(self, start: int, rows: int) -> TarChunk:
        samples = list(self._samples.values())[start : start + rows]
        found = []
        with open_bytes(self.tar.path) as file:

            def text(member: Member) -> bytes:
                file.seek(member.offset)
                return file.read(min(member.size, MOST_TEXT + 1))

            for number, sample in enumerate(samples, start + 1):
                found.append(self._row(sample, number, {end: text(member) for end, member in sample.members.items() if end in _TEXTS}))
        if start + rows > len(self._samples):
            found.append((Row(len(self._samples) + 1, None, f"bad_row: the tar is damaged: {_shown(self._members.damage or '')}"), None))
        return TarChunk(columns_of([row for row, _ in found]), [place for _, place in found])

    def _row(self, sample: Sample, line: int, texts: dict[str, bytes]) -> tuple[Row, Place | None]:
        image = sample.image()
        values: dict[str, Any] = {} if isinstance(image, str) else {"file_name": f"{self._path}/{image.name}"}
        place = None if isinstance(image, str) else Place(sample.key, image.offset, image.size)
        if any(len(text) > MOST_TEXT for text in texts.values()):
            return Row(line, None, f"bad_row: a text of {_shown(sample.key)} is longer than {MOST_TEXT:,} bytes"), None
        try:
            if "json" in texts:
                told = json.loads(texts["json"])
                if not isinstance(told, dict):
                    return Row(line, values, f"bad_row: the JSON of {_shown(sample.key)} is a {type(told).__name__}, not an object"), None
                told = {str(name): value for name, value in told.items() if name != "file_name"}
                if place is not None:
                    place = replace(place, **_measured(told))
                values = {**told, **values}
            for end in _CAPTIONS:
                if end in texts:
                    values["caption"] = texts[end].decode("utf-8").strip()
                    break
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except (ValueError, RecursionError) as error:
            return Row(line, None, f"bad_row: the texts of {_shown(sample.key)}: {_shown(str(error))}"), None
        return (Row(line, values), place) if place is not None else (Row(line, values, str(image), _status(str(image))), None)

    def _of_parquet(self, chunk: Chunk) -> TarChunk:
        rows = len(chunk.lines)
        told = {name: _listed(chunk.columns.get(name), rows) for name in ("key", "status", "error_message", *_MEASURED)}
        columns = {name: column for name, column in chunk.columns.items() if name not in _MEASURED}
        places: list[Place | None] = []
        errors: list[str | None] = []
        statuses, names = [], list[str | None]()
        for row in range(rows):
            values = {name: column[row] for name, column in told.items()}
            failed = failure_of(values["status"], values["error_message"])
            image = self._samples.get(str(values["key"]), Sample(str(values["key"]))).image() if failed is None else ""
            if failed is None and isinstance(image, str):
                failed = (_status(image), image + self._damage_of(image))
            places.append(None if isinstance(image, str) else Place(str(values["key"]), image.offset, image.size, **_measured(values)))
            names.append(None if isinstance(image, str) else f"{self._path}/{image.name}")
            statuses.append("invalid" if failed is None else failed[0])
            errors.append(None if failed is None else failed[1])
        columns["file_name"] = pa.array(names, pa.string())
        return TarChunk(Chunk(columns, chunk.lines, errors, statuses), places)

    def _damage_of(self, error: str) -> str:
        """What to say of a damaged tar with the error of a row whose image it lacks: without a row of its own it is told there."""
        damage = self._members.damage
        return "" if damage is None or error.startswith("bad_row") else f"; the tar is damaged: {_shown(damage)}"


_TEXTS: Final = frozenset({*_CAPTIONS, "json"})


def beside_of(root: FilePlace, path: str) -> str | None:
    """The Parquet file that img2dataset wrote for a tar, below the root; None where there is none, or it is another's."""
    name = path.removesuffix(".tar") + ".parquet"
    return name if path.endswith(".tar") and is_img2dataset(root / name) else None


def is_img2dataset(path: FilePlace) -> bool:
    """Whether a Parquet file says of its rows what img2dataset says. Raises SourceError for a broken one."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return set(COLUMNS) <= set(pq.read_schema(file).names)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read as parquet: {error}") from error


def _samples_of(members: Members, *, keyed: bool) -> dict[str, Sample]:
    """keyed: they are asked for by keys of img2dataset's, which know nothing of the `./` that `tar -C folder .` puts before names."""
    samples: dict[str, Sample] = {}
    for member in members.found:
        match = _NAME.fullmatch(member.name.removeprefix("./") if keyed else member.name)
        if match is None or match[1].rpartition("/")[2].startswith("__"):  # WebDataset's own, and files that belong to no sample
            continue
        sample, end = samples.setdefault(match[1], Sample(match[1])), match[2].lower()
        if end in sample.members:
            sample.twice.append(end)
        sample.members[end] = member
    return samples


def _status(error: str) -> str:
    return "invalid" if error.startswith("bad_row") else "failed_to_download"


def _measured(values: dict[str, Any]) -> dict[str, Any]:
    """What img2dataset says of the bytes before it converted them, taken out of `values`."""
    fits = {
        "exif": lambda value: isinstance(value, str),
        **dict.fromkeys(_MEASURED[:2], lambda value: isinstance(value, int) and 0 < value < 2**31),
    }
    return {name: values.pop(name) for name in _MEASURED if fits[name](values.get(name))}


def _listed(column: Any, rows: int) -> list[Any]:
    return [None] * rows if column is None else column.to_pylist()


def _shown(text: str) -> str:
    """A name that can stand in a table: bytes that are no UTF-8 come as they are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
