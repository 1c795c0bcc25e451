"""Object stores on 127.0.0.1: S3 (moto's server) and Google Cloud Storage (fake-gcs-server), behind a proxy that counts and breaks requests."""

import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from unittest import mock
from urllib.parse import unquote

import pytest
from moto.server import ThreadedMotoServer

from schemas.cache import cache_dir
from schemas.store import open_store

KINDS: Final = ("s3", "gs")
BUCKET: Final = "bucket"


@dataclass
class Fault:
    """What befalls the next `times` requests of a method whose path holds `part`.

    status: the answer in the place of the server's; None: the connection is dropped. done: whether the server carries the request out first.
    """

    method: str
    part: str
    status: int | None
    done: bool = False
    times: int = 1


@dataclass(frozen=True)
class Asked:
    """A request: its method, path with query, and status."""

    method: str
    path: str
    status: int


@dataclass
class Remote:
    """A store that runs. url: of the bucket. asked: all requests so far. faults: what is still to befall some. environment: names the server."""

    kind: str
    url: str
    environment: dict[str, str]
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fault_of(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.part in path:
                fault.times -= 1
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128
    remote: Remote
    upstream: tuple[str, int]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients are killed here."""


class _Proxy(BaseHTTPRequestHandler):
    protocol_version, server = "HTTP/1.1", None

    def _pass_on(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if len(body or b"") != length:  # the client died: a store throws half a body away
            self.close_connection = True
            return
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raise AssertionError("no client of ours sends chunks")
        fault = self.server.remote.fault_of(self.command, unquote(self.path))
        status, headers, data = (fault.status, [], b"") if fault is not None and not fault.done else self._answer(body)
        if fault is not None and fault.done:
            status, headers, data = fault.status, [], b""
        self.server.remote.asked.append(Asked(self.command, unquote(self.path), status or 0))
        if status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length_told = next((value for name, value in headers if name.lower() == "content-length"), len(data))
        self.send_header("Content-Length", str(length_told if self.command == "HEAD" else len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, body: bytes | None) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def remote(kind: str) -> Iterator[Remote]:
    """A store with an empty bucket; the environment names it while the block runs. Skips where its server is not installed."""
    with _server(kind) as upstream:
        proxy = _Server(("127.0.0.1", 0), _Proxy)
        proxy.upstream = upstream
        here = f"http://127.0.0.1:{proxy.server_port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        environment = {"AWS_ENDPOINT_URL": here, **keys} if kind == "s3" else {"STORAGE_EMULATOR_HOST": here}
        proxy.remote = Remote(kind, f"{kind}://{BUCKET}", environment)
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            with mock.patch.dict(os.environ, environment):
                _make_bucket(kind, upstream)
                yield proxy.remote
        finally:
            proxy.shutdown()
            proxy.server_close()
            thread.join()


def _make_bucket(kind: str, upstream: tuple[str, int]) -> None:
    connection = http.client.HTTPConnection(*upstream, timeout=30)
    if kind == "s3":
        connection.request("PUT", f"/{BUCKET}", headers={"Host": f"{upstream[0]}:{upstream[1]}"})
    else:
        connection.request("POST", "/storage/v1/b?project=test", f'{{"name": "{BUCKET}"}}', {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def _reset(upstream: tuple[str, int]) -> None:
    """Empties moto: its servers of one process, so of all test files that a worker takes, share what they hold."""
    connection = http.client.HTTPConnection(*upstream, timeout=30)
    connection.request("POST", "/moto-api/reset")
    assert connection.getresponse().status == 200
    connection.close()


@contextmanager
def _server(kind: str) -> Iterator[tuple[str, int]]:
    """(host, port) of the server itself."""
    if kind == "s3":
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        try:
            _reset(server.get_host_and_port())
            yield server.get_host_and_port()
        finally:
            server.stop()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
    process = subprocess.Popen([gcs_server(), *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "fake-gcs-server did not start within 20 seconds"
                time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.wait()


def gcs_server() -> str:
    """The program, as `make gcs-server` puts it. Skips where it is not."""
    found = shutil.which("fake-gcs-server", path=os.pathsep.join([str(cache_dir() / "bin"), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("not run: fake-gcs-server is not installed (make gcs-server)")
    return found


def uploaded(folder: Path, url: str) -> str:
    """Puts the folder's files below the URL; returns the URL."""
    store = open_store(url)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        store.put(str(file.relative_to(folder)), file)
    return url


def downloaded(url: str, folder: Path) -> Path:
    """A copy of what lies below the URL."""
    store = open_store(url)
    for path, _ in store.list():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(store.read(path))
    return folder
