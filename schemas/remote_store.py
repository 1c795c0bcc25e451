"""Objects below a URL, read only: an S3 bucket, or a web server that answers requests for ranges.

`s3://bucket/prefix` takes keys, region and endpoint from the AWS_* variables of the environment (AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, …; AWS_SKIP_SIGNATURE=true for a public bucket). A web server cannot list: what is read must be named.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import obstore
import pyarrow as pa
from obstore.store import HTTPStore, ObjectStore, S3Store

from schemas.store import Store, StoreError, first_line

SCHEMES: Final = ("s3", "https", "http")


def is_url(root: str | Path) -> bool:
    return "://" in str(root)


class RemoteStore(Store):
    """Objects below the URL `root`. Cheap to make, safe to pickle: every process opens its own. Reads may run in several threads.

    Raises StoreError for a scheme that is none of SCHEMES, and when anything is to be written.
    """

    def __init__(self, root: str):
        parts = urlsplit(root)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise StoreError(f"{root}: give a local folder, or a URL that begins with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        self.root = root.rstrip("/")

    def __repr__(self) -> str:
        return f"RemoteStore({self.root!r})"

    @property
    def _remote(self) -> ObjectStore:
        store: ObjectStore | None = self.__dict__.get("_opened")
        if store is None:
            # allow_http: an endpoint on this machine has no certificate; what is asked for is said by the URL and the environment.
            kind = S3Store if self.root.startswith("s3:") else HTTPStore
            try:
                store = kind.from_url(self.root, client_options={"allow_http": True})
            except (ValueError, obstore.exceptions.BaseError) as error:
                raise StoreError(f"{self.root} cannot be opened: {first_line(error)}") from error
            self.__dict__["_opened"] = store
        return store

    def path_of(self, path: str) -> str:
        return f"{self.root}/{path}"

    def read(self, path: str) -> bytes:
        return bytes(self._got(path, lambda: obstore.get(self._remote, path).bytes()))

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """As Store.read_ranges; one request for neighbours, several at a time."""
        if not ranges:
            return []
        offsets, sizes = zip(*ranges, strict=True)
        full = [number for number, size in enumerate(sizes) if size]
        ends = [offset + size for offset, size in ranges]
        parts = [b""] * len(ranges)
        if full:
            got = self._got(
                path, lambda: obstore.get_ranges(self._remote, path, starts=[offsets[n] for n in full], ends=[ends[n] for n in full])
            )
            for number, part in zip(full, got, strict=True):
                parts[number] = bytes(part)
        for part, (offset, size) in zip(parts, ranges, strict=True):
            if len(part) != size:
                raise StoreError(f"{self.path_of(path)} ends before byte {offset + size}; it was cut: upload it again")
        return parts

    def open(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_Reader(self._got(path, lambda: obstore.open_reader(self._remote, path))), mode="r")

    def exists(self, path: str) -> bool:
        try:
            self._got(path, lambda: obstore.head(self._remote, path))
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        found = self._got(prefix, lambda: obstore.list(self._remote, prefix or None).collect())
        return iter(sorted((str(meta["path"]), int(meta["size"])) for meta in found))

    def _got(self, path: str, read: Any) -> Any:
        try:
            return read()
        except FileNotFoundError:
            raise
        except obstore.exceptions.BaseError as error:
            raise StoreError(f"{self.path_of(path)} cannot be read: {first_line(error)}") from error

    def put(self, path: str, data: bytes | Path) -> None:
        self._refuse()

    def put_new(self, path: str, data: bytes | Path) -> bool:
        self._refuse()

    def delete(self, path: str) -> None:
        self._refuse()

    def leftovers(self, prefix: str = "") -> Sequence[str]:
        return ()

    def delete_leftover(self, path: str) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StoreError(f"{self.root} is only read: write to a local folder and copy it there")


class _Reader:
    """What Arrow asks of a Python file, from obstore's reader, which gives its own kind of bytes."""

    closed = False

    def __init__(self, reader: Any):
        self.reader = reader

    def read(self, size: int = -1) -> bytes:
        return bytes(self.reader.read(None if size < 0 else size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.reader.seek(offset, whence)

    def tell(self) -> int:
        return self.reader.tell()

    def close(self) -> None:
        self.closed = True
