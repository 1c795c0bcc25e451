"""The only code that touches storage: put, put_new, read, read_ranges, list, delete, below one root. :func:`open_store` is the door.

Local folders go through obstore's LocalStore, whose create-only put refuses a second writer (a hard link of a whole temporary file); what
has a URL is in schemas.remote_store. Paths are relative, with "/" between parts. Only reading ranges and opening take an absolute one or a
URL too: a tar of the user's (schemas.user_tar).
"""

import errno
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore


class StoreError(Exception):
    """Storage could not be read or written; the message says what, where and what to do."""


def is_url(root: str | Path) -> bool:
    return "://" in str(root)


def open_store(root: str | Path) -> "Store":
    """The store at a local folder or a URL (s3://bucket/prefix, gs://bucket/prefix; https:// to read). Opens no connection.

    Raises StoreError for a scheme that none has, and where the package that a scheme needs is not installed.
    """
    if not is_url(root):
        return Store(root)
    # Imported here: they are made of this module, and google's package takes half a second.
    scheme = str(root).partition("://")[0]
    if scheme == "gs":
        try:
            from schemas.gs_store import GsStore
        except ModuleNotFoundError as error:
            raise StoreError(f"{root}: gs:// needs {error.name}, which is not installed; pip install 'pigment[gs]'") from error
        return GsStore(str(root))
    from schemas.object_store import HttpStore, S3Store

    kinds: dict[str, type[S3Store] | type[HttpStore]] = {"s3": S3Store, "https": HttpStore, "http": HttpStore}
    if scheme not in kinds:
        raise StoreError(f"{root}: give a local folder, or a URL that begins with s3://, gs:// or, to read, https:// or http://")
    return kinds[scheme](str(root))


def open_at(path: str) -> tuple["Store", str]:
    """(store, path below its root) of one file that has an absolute path or a URL. Raises as :func:`open_store` does."""
    root, _, name = path.rpartition("/")
    return open_store(root or "/"), name


class Store:
    """Objects below `root`, a local folder. Cheap to make, safe to pickle: every process opens its own."""

    def __init__(self, root: str | Path):
        self.root = str(Path(root).absolute())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    @property
    def name(self) -> str:
        """The last part of the root: what people call the dataset."""
        return self.root.rstrip("/").rpartition("/")[2]

    @property
    def local(self) -> Path | None:
        """The root as a folder of this machine; None behind a URL."""
        return Path(self.root)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    @property
    def beside(self) -> Path:
        """The folder of this machine for what is kept beside the dataset and is no object: logs, a database of reviews."""
        return Path(self.root)

    @property
    def _objects(self) -> LocalStore:
        store = self.__dict__.get("_local")
        if store is None:
            try:
                store = self.__dict__["_local"] = LocalStore(self.root, mkdir=True)
            except (OSError, obstore.exceptions.BaseError) as error:
                raise StoreError(f"cannot write to {self.root}: {first_line(error)}; give another --dataset or mend its rights") from error
        return store

    @property
    def _existing(self) -> LocalStore:
        """For reading, which must not make the root. Raises FileNotFoundError."""
        if not os.path.isdir(self.root):
            raise FileNotFoundError(f"{self.root} is not there")
        return self._objects

    def check_writable(self) -> None:
        """Raises StoreError where the root cannot be made or written to, before any work is lost on it; makes nothing."""
        place = Path(self.root)
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            why: str | None = "Not a directory"
        elif os.statvfs(place).f_flag & os.ST_RDONLY:
            why = "Read-only file system"
        else:
            why = None if os.access(place, os.W_OK | os.X_OK) else "Permission denied"
        if why is not None:
            raise StoreError(f"cannot write to {self.root}: {place}: {why}; give another --dataset or mend its rights")

    def path_of(self, path: str) -> str:
        """What a person would type to see the object."""
        return os.path.join(self.root, path)

    def put(self, path: str, data: bytes | Path) -> None:
        """Writes the object whole, in place of what was there."""
        self._put(path, data, "overwrite")

    def put_new(self, path: str, data: bytes | Path) -> bool:
        """Writes the object whole unless there is one. Returns whether this call wrote it: exactly one of several writers does.

        A file given as a path may become the object itself, by a hard link: it must not be written to any more, only unlinked.
        """
        try:
            self._put(path, data, "create")
        except AlreadyExistsError:
            return False
        return True

    def _put(self, path: str, data: bytes | Path, mode: Any) -> None:
        try:
            if isinstance(data, Path) and mode == "create":
                self._objects  # noqa: B018  makes the root, or tells that it cannot be made
                _link(data, Path(self.root, path))
            else:
                # One put, never multipart: create-only is refused for multipart uploads.
                obstore.put(self._objects, path, data, mode=mode, use_multipart=False)
        except FileExistsError as error:
            raise AlreadyExistsError(str(error)) from error
        except AlreadyExistsError:
            raise
        except (OSError, obstore.exceptions.BaseError) as error:
            raise StoreError(f"cannot write {self.path_of(path)}: {_why(error)}") from error

    def read(self, path: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        return bytes(obstore.get(self._existing, path).bytes())

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """The bytes of each (offset, size), in the order asked. Raises FileNotFoundError, and StoreError for a range beyond the end."""
        store, path = self._where(path)
        if store is not self:
            return store.read_ranges(path, ranges)
        parts = self._parts(path, ranges)
        for part, (offset, size) in zip(parts, ranges, strict=True):
            if len(part) != size:
                raise StoreError(f"{self.path_of(path)} ends before byte {offset + size}; it was cut: restore it, or fetch its unit again")
        return parts

    def _parts(self, path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Of read_ranges: what there is of each range, cut where the object ends."""
        with self.open(path) as file:  # 12 us for 40 KB; obstore's get_ranges takes 70 to 280 (measured)
            end = file.size()  # beyond which Arrow raises an error of its own
            return [file.read_at(size, offset) if offset < end else b"" for offset, size in ranges]

    def open(self, path: str, *, kept: bool = False) -> pa.NativeFile:
        """A seekable Arrow file for Parquet and tar readers. Raises FileNotFoundError.

        kept: the object is never replaced by another, so that what was read of it once may be held in memory.
        """
        store, path = self._where(path)
        return pa.memory_map(self.path_of(path), "r") if store is self else store.open(path, kept=kept)

    def _where(self, path: str) -> tuple["Store", str]:
        """This store and the path, or the store and the path below its root of what lies elsewhere: an absolute path or a URL."""
        elsewhere = is_url(path) or (self.local is None and path.startswith("/"))
        return open_at(path) if elsewhere else (self, path)

    def state(self, path: str) -> tuple[int, str]:
        """(size in bytes, what changes whenever the object does) of an object. Raises FileNotFoundError."""
        found = os.stat(self.path_of(path))
        return found.st_size, str(found.st_mtime_ns)

    def exists(self, path: str) -> bool:
        try:
            obstore.head(self._existing, path)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """(path, size) of all objects below the folder `prefix`, sorted by path."""
        if not os.path.isdir(self.root):
            return iter(())
        found = obstore.list(self._existing, prefix or None).collect()
        return iter(sorted((str(meta["path"]), int(meta["size"])) for meta in found))

    def delete(self, path: str) -> None:
        """Removes the object; one that is not there is no error."""
        try:
            obstore.delete(self._existing, path)
        except FileNotFoundError:
            return

    def leftovers(self, prefix: str = "") -> Sequence[str]:
        """Temporary files of writers that were killed (obstore's `name#1`), as paths; `list` never shows them."""
        base = Path(self.root, prefix)
        return sorted(
            str(path.relative_to(self.root)) for path in base.rglob("*#*") if path.is_file() and path.name.rpartition("#")[2].isdigit()
        )

    def delete_leftover(self, path: str) -> None:
        """Removes one of :meth:`leftovers`."""
        Path(self.root, path).unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Makes a file an object without holding it in memory (obstore's put of 300 MB took 512 MB). Raises FileExistsError.

    A hard link is whole from its first moment and refuses a second writer. Across file systems the copy comes first, under a name that
    `list` does not show.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
        return
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
    copy = target.with_name(f"{target.name}#{os.getpid()}{threading.get_ident()}")
    try:
        shutil.copyfile(source, copy)
        os.link(copy, target)
    finally:
        copy.unlink(missing_ok=True)


def _why(error: BaseException) -> str:
    """Why something cannot be written, and what to do where the disk is full."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    if "No space left on device" in why:
        return "No space left on device; make room and run the same command again: what is committed stays"
    return why


def first_line(error: BaseException) -> str:
    """What a library says went wrong, without the pages that follow; its class's name when it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
