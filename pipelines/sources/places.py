"""Where a source's files are: a folder of this machine, as a pathlib.Path, or a URL, as what its readers ask of one."""

import glob
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from schemas.store import Store, is_url, open_at, open_store


class RemotePath:
    """A place below `root`, the URL of a bucket's folder, in the manner of pathlib.Path. Its objects are listed once, when it is first asked
    what there is; paths that are made of it share that list. Raises StoreError for what the store cannot do."""

    def __init__(self, root: str, path: str = "", tree: "_Tree | None" = None):
        self._path, self._tree = path, tree or _Tree(open_store(root))

    def __str__(self) -> str:
        return self._tree.store.path_of(self._path) if self._path else self._tree.store.root

    def __truediv__(self, more: str) -> "RemotePath":
        path = posixpath.normpath(posixpath.join(self._path, more))
        return self._at("" if path == "." else path)

    def __lt__(self, other: "RemotePath") -> bool:
        return self._path < other._path

    def _at(self, path: str) -> "RemotePath":
        return RemotePath("", path, self._tree)

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> "RemotePath":
        return self._at(self._path.rpartition("/")[0])

    def with_suffix(self, suffix: str) -> "RemotePath":
        return self._at(posixpath.splitext(self._path)[0] + suffix)

    def relative_to(self, other: "RemotePath") -> str:
        """The path below a folder that holds it; "." for itself."""
        return posixpath.relpath(self._path or ".", other._path or ".")

    def is_file(self) -> bool:
        return self._path in self._tree.sizes

    def is_dir(self) -> bool:
        """Whether anything lies below it: there are no empty folders behind a URL."""
        return self._path in self._tree.folders

    def size(self) -> int:
        """Bytes. Raises FileNotFoundError."""
        if not self.is_file():
            raise FileNotFoundError(2, "No such file", str(self))
        return self._tree.sizes[self._path]

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """All files below the folder, at any depth, whose name fits: `*` or `*.ending`."""
        below = f"{self._path}/" if self._path else ""
        return (self._at(path) for path in self._tree.sizes if path.startswith(below) and path.endswith(pattern.removeprefix("*")))

    def iterdir(self) -> Iterator["RemotePath"]:
        """The files in the folder itself."""
        return map(self._at, self._tree.folders.get(self._path, ()))

    def read_bytes(self) -> bytes:
        return self._tree.store.read(self._path)

    def read_text(self, encoding: str) -> str:
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> Any:
        """A seekable file of bytes."""
        return self._tree.store.open(self._path)


@dataclass(frozen=True)
class _Tree:
    """A store and what is in it."""

    store: Store

    @cached_property
    def sizes(self) -> dict[str, int]:
        return dict(self.store.list())

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The files in each folder; "" is the root."""
        found: dict[str, list[str]] = {}
        for path in self.sizes:
            folder = path.rpartition("/")[0]
            found.setdefault(folder, []).append(path)
            while folder and (folder := folder.rpartition("/")[0]) not in found:
                found[folder] = []
        return found


Place = Path | RemotePath


def place_of(path: str) -> Place:
    """A local path, or a URL."""
    return RemotePath(path) if is_url(path) else Path(path)


def spec_of(given: str) -> str:
    """A --source as it is kept: absolute, so that it means the same wherever the command is given."""
    return given.rstrip("/") if is_url(given) else os.path.abspath(given)


def below(path: Place, root: Place) -> str:
    """The path of a place below another; "." for itself."""
    assert isinstance(path, Path) == isinstance(root, Path), "both are local, or neither is"
    return str(path.relative_to(root))  # type: ignore[arg-type]


def size_of(path: Place) -> int:
    """Bytes of a file. Raises FileNotFoundError."""
    return path.size() if isinstance(path, RemotePath) else path.stat().st_size


def open_bytes(path: str) -> Any:
    """A seekable file of a local path or a URL. Raises FileNotFoundError."""
    if not is_url(path):
        return open(path, "rb")
    store, name = open_at(path)
    return store.open(name)


def matching(spec: str) -> tuple[Place, Sequence[str]]:
    """(root, paths below it, sorted) of the files that a pattern or a plain path names; none where there is none."""
    if is_url(spec):
        return _matching_far(spec)
    found = [path for path in sorted(glob.glob(spec, recursive=True)) if os.path.isfile(path)] if glob.has_magic(spec) else [spec]
    whole = [Path(path).absolute() for path in found]
    root = Path(os.path.commonpath([str(path.parent) for path in whole])) if whole else Path()
    return root, [str(path.relative_to(root)) for path in whole]


def _matching_far(spec: str) -> tuple[Place, Sequence[str]]:
    """`*`, `?` and `[…]` stay within a folder, `**/` is any number of them."""
    if not glob.has_magic(spec):
        store, name = open_at(spec)
        return RemotePath(store.root), [name] if store.exists(name) else []
    parts = spec.split("/")
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    base = RemotePath("/".join(parts[:fixed]))
    fits = re.compile(_regex("/".join(parts[fixed:])))
    paths = sorted(path.relative_to(base) for path in base.rglob("*") if fits.fullmatch(path.relative_to(base)))
    common = posixpath.commonpath([posixpath.dirname(path) for path in paths]) if paths else ""
    if common:
        base = RemotePath(f"{base}/{common}")
    return base, [posixpath.relpath(path, common or ".") for path in paths]


def _regex(pattern: str) -> str:
    words = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    return "".join(words.get(part) or (part.replace("[!", "[^") if part.startswith("[") else re.escape(part)) for part in parts)
