"""A bucket of Google Cloud Storage, by google-cloud-storage (extra `gs`).

`gs://bucket/prefix` takes the application default credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud, or the machine's service account);
STORAGE_EMULATOR_HOST names another server, which is asked without any.
"""

import io
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from google.api_core.exceptions import (
    Forbidden,
    GoogleAPICallError,
    NotFound,
    PreconditionFailed,
    RetryError,
    Unauthorized,
    from_http_response,
)
from google.auth import default as default_credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter

from schemas.remote_store import TOKEN, Environment, RemoteStore, environment_of
from schemas.store import StoreError, first_line

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_TIMEOUT: Final = (10, 60)  # seconds to connect, and of silence
_RETRY: Final = DEFAULT_RETRY.with_timeout(180.0)  # on 408, 429, 5xx and network errors, with back-off and jitter
_CHUNK: Final = 1 << 25  # bytes of a request of what is larger than 8 MB: so much is in memory
_CONNECTIONS: Final = 64  # kept open by a process


# Else the client asks for the bucket's own metadata behind our back, which takes a right that the job does not need.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


class GsStore(RemoteStore):
    """Objects of a bucket of Google Cloud Storage."""

    def __init__(self, root: str):
        super().__init__(root)
        parts = urlsplit(self.root)
        self._bucket_name, self._prefix = parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_bucket_name": self._bucket_name, "_prefix": self._prefix}

    @property
    def _client(self) -> "_Client":
        return _opened(self.root, environment_of(), os.getpid())

    def _whole(self, path: str) -> bytes:
        return self._got(path, {}).content

    def _range(self, path: str, start: int, end: int) -> bytes:
        return self._got(path, {"Range": f"bytes={start}-{end - 1}"}).content

    def _tail(self, path: str, size: int) -> tuple[bytes, int]:
        answer = self._got(path, {"Range": f"bytes=-{size}"})
        if answer.status_code == 416:  # an empty object has no last byte
            return b"", 0
        return answer.content, int(answer.headers["Content-Range"].rpartition("/")[2]) if answer.status_code == 206 else len(answer.content)

    def _got(self, path: str, headers: dict[str, str]) -> requests.Response:
        """The answer to a request for an object's bytes; 416 is one too."""
        url = f"{self._client.base}/download/storage/v1/b/{self._bucket_name}/o/{quote(self._prefix + path, safe='')}?alt=media"
        headers = {"Accept-Encoding": "identity", **headers}

        def ask() -> requests.Response:
            answer = self._client.session.get(url, headers=headers, timeout=_TIMEOUT)
            if answer.status_code not in (200, 206, 416):
                raise from_http_response(answer)
            return answer

        with self._told(path):
            answer = _RETRY(ask)()
        if answer.headers.get("x-goog-stored-content-encoding") == "gzip":  # ranges of it would be of other bytes
            raise StoreError(f"{self.path_of(path)} is stored packed (Content-Encoding: gzip); upload it as it is")
        return answer

    def state(self, path: str) -> tuple[int, str]:
        with self._told(path):
            blob = self._client.bucket.get_blob(self._prefix + path, retry=_RETRY, timeout=_TIMEOUT)
        if blob is None:
            raise FileNotFoundError(f"{self.path_of(path)} is not there")
        return int(blob.size or 0), str(blob.generation)

    def _token(self, path: str) -> str | None:
        return self._got(path, {"Range": "bytes=0-0"}).headers.get(f"x-goog-meta-{TOKEN}")

    def _write(self, path: str, data: bytes | mmap.mmap, token: str | None) -> bool:
        blob = self._client.bucket.blob(self._prefix + path, chunk_size=_CHUNK)
        if token is not None:
            blob.metadata = {TOKEN: token}
        try:
            with self._told(path, "written"):
                blob.upload_from_file(
                    io.BytesIO(data) if isinstance(data, bytes) else data,
                    size=len(data), if_generation_match=None if token is None else 0, retry=_RETRY, timeout=_TIMEOUT,
                )  # fmt: skip
        except StoreError as error:
            if isinstance(error.__cause__, PreconditionFailed):
                return False
            raise
        except FileNotFoundError as error:
            raise StoreError(f"{self.path_of(path)} cannot be written: {_NO_BUCKET}") from error
        return True

    def _listed(self, prefix: str) -> Iterable[tuple[str, int]]:
        below = self._prefix + (f"{prefix}/" if prefix else "")
        fields = "items(name,size),nextPageToken"
        try:
            with self._told(prefix, "listed"):
                blobs = self._client.bucket.list_blobs(prefix=below, fields=fields, retry=_RETRY, timeout=_TIMEOUT)
                return [(blob.name.removeprefix(self._prefix), int(blob.size or 0)) for blob in blobs]
        except FileNotFoundError as error:
            raise StoreError(f"{self.root} cannot be listed: {_NO_BUCKET}") from error

    def _remove(self, path: str) -> None:
        with self._told(path, "deleted"):
            self._client.bucket.delete_blob(self._prefix + path, retry=_RETRY, timeout=_TIMEOUT)

    @contextmanager
    def _told(self, path: str, what: str = "read") -> Iterator[None]:
        """Makes Google's errors StoreErrors that say what to do; a missing object is a FileNotFoundError."""
        try:
            yield
        except NotFound as error:
            if "bucket does not exist" in str(error):
                raise StoreError(f"{self.path_of(path)} cannot be {what}: {_NO_BUCKET}") from error
            raise FileNotFoundError(f"{self.path_of(path)} is not there") from error
        except (GoogleAPICallError, GoogleAuthError, RetryError, requests.RequestException) as error:
            raise StoreError(f"{self.path_of(path)} cannot be {what}: {_why(error)}") from error


_NO_BUCKET: Final = "there is no such bucket; make it, or mend the URL"


class _Client:
    """base: the server. session: for reading. bucket: for all else; both with one pool of connections."""

    def __init__(self, root: str):
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        self.base = emulator or "https://storage.googleapis.com"
        try:
            credentials, project = (AnonymousCredentials(), None) if emulator else default_credentials(scopes=[_SCOPE])
        except GoogleAuthError as error:
            raise StoreError(
                f"{root}: no credentials; run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
            ) from error
        self.session = AuthorizedSession(credentials)
        self.session.mount(f"{urlsplit(self.base).scheme}://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
        client = storage.Client(project=project or "pigment", credentials=credentials, _http=self.session)
        self.bucket = client.bucket(urlsplit(root).netloc)


@lru_cache(maxsize=16)
def _opened(root: str, environment: Environment, process: int) -> _Client:
    """One client of a root in a process, with its connections, however many stores are unpickled there: it must not cross a fork."""
    return _Client(root)


def _why(error: Exception) -> str:
    if isinstance(error, Forbidden | Unauthorized):
        return (
            "access denied; the account must be allowed to get, create, list and delete objects (roles/storage.objectUser, infra/STORES.md)"
        )
    if isinstance(error, GoogleAuthError):
        return f"the credentials are not taken ({first_line(error)}); run gcloud auth application-default login, or check the key file"
    return first_line(error)[:400]
