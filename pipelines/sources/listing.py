"""What `--source` may name: a row file or a tar, a glob of them, or a folder (metadata.*, tars, or name.jpg + name.txt|json)."""

import glob
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pipelines.sources.formats import COMPRESSIONS, TEXT_FORMATS, SourceError, column_names, format_of
from pipelines.sources.places import Place, below, matching, place_of
from pipelines.sources.presets import PRESETS, Preset
from pipelines.sources.tars import beside_of, is_img2dataset
from schemas.store import is_url, open_store

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"})
TARS: Final = ("tar", "img2dataset")  # kinds whose images stay where they are
_PACKED_TARS: Final = (".tgz", *(f".tar.{end}" for end in ("gz", "zst", "bz2", "xz")))
URL_LIST_UNIT, FOLDER_UNIT = 10_000, 1_000  # rows (DESIGN 3); of tars as of url lists: no byte is copied


@dataclass(frozen=True)
class Entry:
    """One source file.

    kind: "rows" for a row file, "folder" for the listing of a directory of images with sidecars, "tar" for a WebDataset tar, "img2dataset"
    for one of its tars with the Parquet file beside it. images: whether rows name images that are here, not urls. columns: ours -> the file's.
    limit: rows from the top; sample: share of rows, by hash of their number; None for all. header: the columns of a file without a header
    line (formats.column_names).
    """

    root: str
    path: str
    kind: str
    images: bool
    columns: Mapping[str, str]
    limit: int | None = None
    sample: float | None = None
    header: tuple[str, ...] | None = None

    @property
    def default_unit_size(self) -> int:
        return FOLDER_UNIT if self.images and self.kind not in TARS else URL_LIST_UNIT


def list_source(
    spec: str, columns: Mapping[str, str], *, limit: int | None = None, sample: float | None = None, preset: str | None = None
) -> list[Entry]:
    """The files of a source, sorted. columns: ours -> the source's, as the user mapped them. preset: a name of PRESETS; it maps the columns
    that `columns` does not. Raises SourceError."""
    names = Names(columns, None if preset is None else PRESETS[preset])
    return [replace(entry, limit=limit, sample=sample) for entry in _list(spec, names)]


@dataclass(frozen=True)
class Names:
    """How columns are named: by the user, then by a preset."""

    columns: Mapping[str, str]
    preset: Preset | None = None

    def mapping(self, there: Collection[str]) -> dict[str, str]:
        """ours -> the file's, for a file that has the columns `there`."""
        return {**(self.preset.mapping(there) if self.preset is not None else {}), **self.columns}

    def header(self, path: str) -> tuple[str, ...] | None:
        """The columns of a text file that comes without a header line."""
        return None if self.preset is None or format_of(path)[0] not in ("csv", "tsv") else self.preset.header


def _list(spec: str, names: Names) -> list[Entry]:
    place = place_of(spec) if is_url(spec) else Path(spec).absolute()
    if not glob.has_magic(spec) and place.is_dir():
        return _list_folder(place, names)
    root, paths = matching(spec)
    paths = _beside_tars_left_out(root, paths) if glob.has_magic(spec) else paths
    if not paths:
        raise SourceError(
            f"{spec}: no file matches; check the pattern (quote it, so that the shell leaves it alone)"
            if glob.has_magic(spec)
            else f"{spec}: no such object or folder; give --source a row file, a glob or a folder"
        )
    for path in paths:
        if not is_url(spec) and not (root / path).exists():  # type: ignore[union-attr]  # local
            raise SourceError(f"{root / path}: no such file or folder; give --source a row file, a glob or a folder")
        if not is_url(spec) and not os.access(root / path, os.R_OK):  # type: ignore[arg-type]  # local
            raise SourceError(f"{root / path}: not readable; mend its rights")
    return [_entry(root, path, names) for path in paths]


def _beside_tars_left_out(root: Place, paths: Sequence[str]) -> list[str]:
    """The files of a pattern such as `out/*`, without those that img2dataset wrote for tars among them: they are read with their tar."""
    tars = {path.removesuffix(".tar") for path in paths if path.endswith(".tar")}
    beside = {f"{tar}.parquet" for tar in tars if is_img2dataset(root / f"{tar}.parquet")} | {f"{tar}_stats.json" for tar in tars}
    return [path for path in paths if path not in beside]


def _entry(root: Place, path: str, names: Names) -> Entry:
    if path.lower().endswith(_PACKED_TARS):
        raise SourceError(f"{root / path} is compressed; images are read from a tar where they lie: unpack it to a plain .tar first")
    return _tar_entry(root, path, names) if path.lower().endswith(".tar") else _row_entry(root, path, names)


def _tar_entry(root: Place, path: str, names: Names) -> Entry:
    """Names of JSON members are not known before the tar is read; a preset maps those of img2dataset's Parquet file alone."""
    beside = beside_of(root, path)
    mapping = dict(names.columns) if beside is None else _mapping(root, beside, names, url=False)[0]
    return Entry(str(root), path, "tar" if beside is None else "img2dataset", images=True, columns=mapping)


def _row_entry(root: Place, path: str, names: Names) -> Entry:
    mapping, known = _mapping(root, path, names, url=True)
    return Entry(str(root), path, "rows", images="url" not in known, columns=mapping, header=names.header(path))


def _mapping(root: Place, path: str, names: Names, *, url: bool) -> tuple[dict[str, str], set[str]]:
    """(ours -> the file's, the names that it has, ours for those that are mapped).

    Raises SourceError where the file lacks a column that the user mapped, a caption or, asked for by `url`, urls and file names.
    """
    there = column_names(open_store(str(root)), path, names.header(path))
    for ours, theirs in names.columns.items():
        if theirs not in there:
            raise SourceError(f"{root / path}: no column {theirs!r} (asked for as {ours}); the file has {', '.join(there) or 'none'}")
    mapping = names.mapping(there)
    known = {*there, *mapping}
    if "caption" not in known or (url and not known & {"url", "file_name"}):
        lacking = "caption" if "caption" not in known else "url (or file_name)"
        raise SourceError(
            f"{root / path}: no column {lacking}; the file has {', '.join(there) or 'none'}: "
            "say which one it is, e.g. --columns caption=TEXT,url=URL, or name a --preset"
        )
    return mapping, known


def _list_folder(root: Place, names: Names) -> list[Entry]:
    endings = [suffix + end for suffix in [*TEXT_FORMATS, ".parquet"] for end in ["", *COMPRESSIONS]]
    metadata = [root / f"metadata{ending}" for ending in endings if (root / f"metadata{ending}").is_file()]
    if len(metadata) > 1:
        raise SourceError(
            f"{root}: several metadata files ({', '.join(path.name for path in metadata)}); name one as --source, or keep one"
        )
    if metadata:
        return [_row_entry(root, metadata[0].name, names)]
    files = [path for path in root.rglob("*") if path.suffix.lower() in {".tar", *IMAGE_SUFFIXES} and path.is_file()]
    tars = sorted(below(path, root) for path in files if path.suffix.lower() == ".tar")
    folders = sorted({below(path.parent, root) for path in files if path.suffix.lower() in IMAGE_SUFFIXES})
    if tars and folders:
        raise SourceError(f"{root}: tars ({tars[0]}) and images ({folders[0]}); name one of them, the tars as '{root}/**/*.tar'")
    if tars:
        return _folder_of_tars(root, tars, names)
    if not folders:
        raise SourceError(f"{root}: no metadata.csv|tsv|jsonl|parquet, no tars and no images in it; a folder source needs one of them")
    return [Entry(str(root), folder, "folder", images=True, columns=dict(names.columns)) for folder in folders]


def _folder_of_tars(root: Place, tars: list[str], names: Names) -> list[Entry]:
    alone = sorted(path for path in root.rglob("*.parquet") if not path.with_suffix(".tar").is_file() and is_img2dataset(path))
    if alone:
        raise SourceError(f"{alone[0]}: img2dataset's tar of it is missing; put it back, or leave its rows out: --source '{root}/**/*.tar'")
    return [_tar_entry(root, tar, names) for tar in tars]
