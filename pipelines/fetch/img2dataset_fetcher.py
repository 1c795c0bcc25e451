"""`--fetcher img2dataset`: the urls of a unit are downloaded, and converted, by img2dataset; all else is as with our own engine.

Lists, opt-outs, what hosts say, the guard of addresses, limits of hosts, claims, deferral and the commit are ours. What img2dataset asks for is
a round: a redirect is looked at here, and asked for in the next round, and so is what failed in a way that can pass.
"""

import contextlib
import importlib.util
import os
import pickle
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pipelines import lifelines
from pipelines.fetch.client import LATE, Failed, Fetched, Moved
from pipelines.fetch.hosts import Asked as First
from pipelines.fetch.hosts import Image
from pipelines.fetch.img2dataset_messages import Asking, Broken, Done, GivenBack, Looking, Round, Told
from pipelines.fetch.job import WINDOW, Job, Work, redirected
from pipelines.fetch.loop import Engine
from pipelines.fetch.origins import origin_of, verdict_of
from pipelines.fetch.sink import Sink
from pipelines.fetch.store import Outcome
from quality.block_lists import BlockLists
from schemas.scratch import Scratch

MISSING: Final = (
    "--fetcher img2dataset needs img2dataset, which is not installed (or needs a Python below 3.13): pip install 'pigment[img2dataset]'; "
    "or leave the flag out: pigment's own fetcher needs nothing more"
)
_UNTOLD: Final = Failed("img2dataset", "it gave no answer")
_ROOT: Final = Path(__file__).parent.parent.parent


class FetcherError(Exception):
    """img2dataset cannot be run; the message says why and what to do."""


def check_installed() -> None:
    """Raises FetcherError where the extra is missing; imports nothing of it."""
    if importlib.util.find_spec("img2dataset") is None or importlib.util.find_spec("imghdr") is None:
        raise FetcherError(MISSING)


class Img2datasetFetcher:
    """engine: asks hosts what they say, and whether the network is up. lists: of the process. One unit at a time, in the order of submit."""

    def __init__(self, engine: Engine, lists: BlockLists):
        check_installed()
        self._engine, self._lists, self._settings = engine, lists, engine.settings
        self._folder = Scratch("fetch")
        self._runner = ThreadPoolExecutor(1, thread_name_prefix="fetch-img2dataset")
        self._child: _Child | None = None
        self._unit: _Unit | None = None
        self._closing = False
        self._lock = threading.Lock()  # of the three above
        self._numbers = 0

    def submit(self, work: Work) -> "Future[Any]":
        """As Engine.submit."""
        return self._runner.submit(self._run, work)

    def close(self) -> None:
        """Ends img2dataset; units that are not committed stay so, their futures are cancelled or raise CancelledError."""
        with self._lock:
            self._closing = True
            if self._unit is not None:
                self._unit.close()  # before its process ends, which would else look as if an image had ended it
        self._runner.shutdown(wait=False, cancel_futures=True)
        self.stop()
        self._runner.shutdown()
        self._folder.close()

    def _run(self, work: Work) -> Any:
        self._numbers += 1
        job = Job(self._numbers, work, Sink(Path(self._folder.path, f"{self._numbers:06d}.tar"), len(work.urls)))
        try:
            if not job.complete:
                unit = _Unit(self, job)
                with self._lock:
                    self._unit = unit
                unit.run()
            if self._closing:
                raise CancelledError
            return work.finish(job.sink.whole(), job.sink.close(), self._engine.network_up)
        finally:
            job.sink.discard()

    def stop(self) -> None:
        """Ends the process; what it was asked for and has not told, it does not tell any more."""
        with self._lock:
            child = self._child
        if child is not None:
            child.end()

    def child(self) -> "_Child":
        """The process, started when it is first needed, or when the last one ended. Raises CancelledError after close."""
        with self._lock:
            if self._closing:
                raise CancelledError
            if self._child is None or not self._child.alive:
                self._child = _Child(pickle.dumps((self._settings, self._lists.digest, self._lists.dataset, str(self._folder.path))))
            child = self._child
        child.await_start()  # without the lock: close and stop end a process that is starting, too
        return child


class _Unit:
    """One unit while it is being fetched."""

    def __init__(self, fetcher: Img2datasetFetcher, job: Job):
        self._fetcher, self._job = fetcher, job
        self._engine, self._lists, self._settings = fetcher._engine, fetcher._lists, fetcher._settings
        self._later: list[tuple[float, Image]] = []  # what to ask for in a further round, and from when on
        self._until = 0.0
        self._over = threading.Event()

    def close(self) -> None:
        """Ends the unit, from any thread; what its process does not tell any more is not the fault of an image."""
        self._job.closed = True
        self._over.set()

    def run(self) -> None:
        """Rounds, until every url has its outcome or the unit's time is up."""
        images, limit = list(self._job.open.values()), self._settings.unit_timeout_s
        if any(image.url is None for image in images):
            raise FetcherError("img2dataset fetches urls; the images of a folder are read by pigment's own fetcher: leave --fetcher out")
        self._fetcher.child()  # importing img2dataset takes seconds, which are not the unit's
        self._until = time.monotonic() + limit
        watch = threading.Thread(target=self._watch, args=(limit,), name="fetch-deadline", daemon=True)
        watch.start()
        try:
            self._later = [(0.0, image) for image in images]
            while self._later and not self._job.closed:
                now, first = time.monotonic(), min(due for due, _ in self._later)
                if first > now:
                    self._over.wait(first - now)
                else:
                    images = [image for due, image in self._later if due <= now]
                    self._later = [(due, image) for due, image in self._later if due > now]
                    self._round(images)
        finally:
            self._over.set()
            watch.join()
        for image in list(self._job.open.values()):
            self._settle(image, LATE)

    def _watch(self, limit: float) -> None:
        """Ends the unit at its deadline, which moves on while enough of its rows come; as our engine's."""
        if self._over.wait((1 - WINDOW) * limit):
            return
        self._job.moves()
        while not self._over.wait(WINDOW * limit):
            self._until = time.monotonic() + WINDOW * limit
            if not self._job.moves():
                self.close()
                self._fetcher.stop()
                return

    def _round(self, images: list[Image]) -> None:
        by_number = {image.rows[0]: image for image in images}
        asking = [Asking(image.rows[0], str(image.url), tuple(self._job.claims_of(image)), image.signals) for image in images]
        looking: int | None = None
        moved: list[tuple[Image, Moved]] = []
        child = self._fetcher.child()
        if self._job.closed:  # while it started: it was ended, or is not asked for what nobody waits for any more
            return
        now = time.monotonic()
        others_s = min((due - now for due, _ in self._later), default=None)
        for message in child.round(Round(asking, self._job.work.delays, self._until - now, others_s)):
            if isinstance(message, Looking):
                looking = message.number
            elif isinstance(message, GivenBack):
                self._later.append((0.0, by_number.pop(message.number)))
            elif isinstance(message, Told):
                looking = None
                image = by_number.pop(message.number)
                if isinstance(message.asked.answer, Moved):
                    moved.append((image, message.asked.answer))
                self._heed(image, message)
        if self._job.closed:
            return
        self._follow(moved)
        if child.alive:
            for image in by_number.values():
                self._settle(image, _UNTOLD)
        elif looking is not None:  # a native crash on this very image: the others are asked for again
            self._settle(by_number.pop(looking), Outcome("crashed", f"crashed: img2dataset's process ended with {child.code}"))
            self._later += [(0.0, image) for image in by_number.values()]
        else:
            raise FetcherError(
                f"img2dataset's process ended with {child.code} before it had looked at an image; what it wrote is in the log"
            )

    def _heed(self, image: Image, told: Told) -> None:
        """Settles a url, or asks again later, as Engine does; redirects are followed when the round is over."""
        answer, ended = told.asked.answer, told.asked.ended
        assert image.url is not None
        image.ended = ended
        if not told.asked.sent and isinstance(answer, Failed):
            self._settle(image, answer)
            return
        if image.asked is None:
            image.asked = First(image.url.raw_host or "", told.asked.began, told.asked.began)
        image.requests += 1
        image.received += answer.received
        image.say(answer.signals)
        if isinstance(answer, Fetched):
            self._job.came(image)
            del self._job.open[image.rows[0]]
            self._job.put(image, [(outcome, told.data if outcome.status == "success" else None) for outcome in told.outcomes])
        elif isinstance(answer, Failed):
            wait_s = max(answer.wait_s or 0.0, self._settings.backoff_s * 2**image.attempts)
            image.attempts += 1
            late = ended + wait_s - image.asked.began >= self._settings.image_timeout_s
            if not answer.again or late or image.attempts > self._settings.retries:
                self._settle(image, answer)
            else:
                self._later.append((time.monotonic() + wait_s, image))

    def _follow(self, moved: list[tuple[Image, Moved]]) -> None:
        """Where redirects point to is looked at as every url is before it is asked for; the hosts that were not yet heard side by side."""
        targets: list[tuple[Image, str]] = []
        for image, answer in moved:
            astray = redirected(image, answer, self._lists, most=self._settings.max_redirects)
            if astray is not None:
                self._settle(image, astray)
            elif image.url is not None:
                targets.append((image, origin_of(image.url)))
        hosts = self._engine.hosts
        if unread := hosts.unread({origin for _, origin in targets}):
            self._engine.ask_hosts(unread)
        for image, origin in targets:
            refused, signals = verdict_of(hosts.all_of([origin])[origin], str(image.url), obeys=self._settings.optouts == "obey")
            image.say(signals)
            if refused is None:
                self._later.append((0.0, image))
            else:
                self._settle(image, refused)

    def _settle(self, image: Image, answer: Failed | Outcome) -> None:
        del self._job.open[image.rows[0]]
        self._job.put_all(image, answer)


class _Child:
    """img2dataset's process. hello: what it is told first, pickled."""

    def __init__(self, hello: bytes):
        reading, writing = os.pipe()
        paths = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = lifelines.start(
            f"from pipelines.fetch.img2dataset_child import main; main({writing})",
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(writing,),
            env={**os.environ, "PYTHONPATH": paths, "NO_ALBUMENTATIONS_UPDATE": "1"},
        )  # fmt: skip
        os.close(writing)
        self._answers = os.fdopen(reading, "rb")
        self._started = self._ended = False
        self._send(hello)

    def await_start(self) -> None:
        """Until it can be asked, which takes seconds, or was ended by us. Raises FetcherError where it ended by itself."""
        if self._started:
            return
        for _ in self._said():
            pass
        self._started = True
        if not self.alive and not self._ended:
            raise FetcherError(f"img2dataset's process ended with {self.code} as it started; what it wrote is in the log")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def code(self) -> str:
        """How it ended, for people."""
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def round(self, asked: Any) -> Iterator[Any]:
        """What it says of a round, until that is over or the process has ended. Raises RuntimeError for a bug in it."""
        self._send(pickle.dumps(asked))
        return self._said()

    def _said(self) -> Iterator[Any]:
        while True:
            try:
                message = pickle.load(self._answers)
            except (EOFError, pickle.UnpicklingError):  # the latter where it ended within a message
                self._process.wait()
                return
            if isinstance(message, Done):
                return
            if isinstance(message, Broken):
                raise RuntimeError(f"in img2dataset's process: {message.text}")
            yield message

    def end(self) -> None:
        self._ended = True
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended, which its answers tell; the latter where we ended it
            self._process.stdin.write(data)
            self._process.stdin.flush()
