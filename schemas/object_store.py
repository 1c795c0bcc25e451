"""An S3 bucket, and what a web server that answers requests for ranges has, by obstore.

`s3://bucket/prefix` takes keys, region and endpoint from the AWS_* variables of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL, …; AWS_SKIP_SIGNATURE=true for a public bucket), else from the machine's role. A web server
cannot list and is only read: what is read must be named.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import HTTPStore, ObjectStore
from obstore.store import S3Store as _S3

from schemas.remote_store import TOKEN, Environment, RemoteStore, environment_of
from schemas.store import StoreError, first_line

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# A request may take long, for a tar of 256 MB is one, but not be silent for long. What passes (5xx, 429, time-outs, dropped connections) is asked
# for again by obstore, with back-off and jitter; an own create-only put too, for the writer knows its object again (RemoteStore).
_CLIENT: Final["ClientConfig"] = {"allow_http": True, "connect_timeout": "10s", "read_timeout": "60s", "timeout": "1h"}
_RETRIES: Final["RetryConfig"] = {"max_retries": 8, "retry_timeout": timedelta(minutes=3)}
_CREATES_AGAIN: Final = 3  # times that a create-only put is sent again after a time-out, which obstore leaves to us
_NO_KEYS: Final = "169.254.169.254"  # where a machine's role is asked for, the last of all places


class _ObstoreStore(RemoteStore):
    """What obstore gives of any of its stores."""

    @property
    def _remote(self) -> ObjectStore:
        return _opened(self.root, environment_of(), os.getpid())

    def _whole(self, path: str) -> bytes:
        with self._told(path):
            return bytes(obstore.get(self._remote, path).bytes())

    def _range(self, path: str, start: int, end: int) -> bytes:
        with self._told(path):
            return bytes(obstore.get_range(self._remote, path, start=start, end=end))

    def _tail(self, path: str, size: int) -> tuple[bytes, int]:
        try:
            with self._told(path):
                got = obstore.get(self._remote, path, options={"range": {"suffix": size}})
                return bytes(got.bytes()), int(got.meta["size"])
        except StoreError as error:
            # An empty object has no last byte, and some servers know no last bytes at all: those give the whole.
            if "NotPartial" in str(error.__cause__) or "416 Range" in str(error):
                return (whole := self._whole(path)), len(whole)
            raise

    def state(self, path: str) -> tuple[int, str]:
        with self._told(path):
            meta = obstore.head(self._remote, path)
        return int(meta["size"]), str(meta["e_tag"] or meta["last_modified"])

    def _listed(self, prefix: str) -> Iterable[tuple[str, int]]:
        with self._told(prefix):
            return [(str(meta["path"]), int(meta["size"])) for page in obstore.list(self._remote, prefix or None) for meta in page]

    def _remove(self, path: str) -> None:
        with self._told(path, "deleted"):
            obstore.delete(self._remote, path)

    def _token(self, path: str) -> str | None:
        with self._told(path):
            return obstore.get(self._remote, path, options={"range": (0, 1)}).attributes.get(TOKEN)

    @contextmanager
    def _told(self, path: str, what: str = "read") -> Iterator[None]:
        """Makes obstore's errors StoreErrors that say what to do; a missing object stays a FileNotFoundError."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise StoreError(f"{self.root}: there is no such bucket; make it, or mend the URL (AWS_ENDPOINT_URL, AWS_REGION)") from error
        except BaseError as error:
            raise StoreError(f"{self.path_of(path)} cannot be {what}: {_why(error)}") from error


class S3Store(_ObstoreStore):
    """Objects of an S3 bucket."""

    def _write(self, path: str, data: bytes | mmap.mmap, token: str | None) -> bool:
        # One put, never multipart: create-only is refused for multipart uploads.
        told: dict[str, Any] = {} if token is None else {"mode": "create", "attributes": {TOKEN: token}}
        for left in range(_CREATES_AGAIN, -1, -1):
            try:
                with self._told(path, "written"):
                    obstore.put(self._remote, path, data, use_multipart=False, **told)
                return True
            except StoreError as error:
                if isinstance(error.__cause__, AlreadyExistsError):
                    return False
                if not left or token is None or not _may_pass(error.__cause__):
                    raise
        raise AssertionError("unreachable: the last round returns or raises")


class HttpStore(_ObstoreStore):
    """What a web server has, read only."""

    def check_writable(self) -> None:
        self._refuse()

    def _write(self, path: str, data: bytes | mmap.mmap, token: str | None) -> bool:
        self._refuse()

    def _remove(self, path: str) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StoreError(f"{self.root} is only read: write to a local folder, s3:// or gs://")


@lru_cache(maxsize=16)
def _opened(root: str, environment: Environment, process: int) -> ObjectStore:
    """One client of a root in a process, with its connections, however many stores are unpickled there."""
    kind = _S3 if root.startswith("s3:") else HTTPStore
    try:
        return kind.from_url(root, client_options=_CLIENT, retry_config=_RETRIES)
    except (ValueError, BaseError) as error:
        raise StoreError(f"{root} cannot be opened: {first_line(error)}") from error


def _may_pass(error: BaseException | None) -> bool:
    return "operation timed out" in str(error) or "error sending request" in str(error)


def _why(error: BaseError) -> str:
    said = first_line(error)
    if _NO_KEYS in said:
        return (
            "no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is (AWS_SKIP_SIGNATURE=true for a public bucket)"
        )
    if "NoSuchBucket" in str(error):
        return "there is no such bucket; make it, or mend the URL (AWS_ENDPOINT_URL, AWS_REGION)"
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in said:
        return "access denied; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may get, put, list and delete (infra/STORES.md)"
    return said[:400]
