"""A folder's files behind a web server that answers requests for ranges (aiohttp)."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web


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
