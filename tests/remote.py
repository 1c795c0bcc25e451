"""A folder's files behind a loopback S3 (moto's server) or a web server that answers ranges (aiohttp)."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import boto3
from aiohttp import web
from moto.server import ThreadedMotoServer


@contextmanager
def bucket(folder: Path, *, prefix: str) -> Iterator[str]:
    """s3://…/prefix with the folder's files; the environment names the server while the block runs."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        told = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        with mock.patch.dict(os.environ, told):
            client = boto3.client("s3", region_name="us-east-1", endpoint_url=told["AWS_ENDPOINT_URL"])
            client.create_bucket(Bucket="bucket")
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                client.put_object(Bucket="bucket", Key=f"{prefix}/{file.relative_to(folder)}", Body=file.read_bytes())
            yield f"s3://bucket/{prefix}"
    finally:
        server.stop()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """http://127.0.0.1:…/data with the folder's files."""
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), list[str]()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_static("/data", folder)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append("http://{}:{}/data".format(*runner.addresses[0][:2]))
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        if not ready.wait(10):
            raise RuntimeError("the web server did not start within 10 seconds")
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
