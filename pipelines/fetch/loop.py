"""The engine: one event loop for the requests, threads that hash and convert, one thread that commits. One per process."""

import asyncio
import contextlib
import hashlib
import queue
import resource
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Final

from yarl import URL

from pipelines.fetch.client import LATE, Answer, Client, Failed, Fetched, Moved
from pipelines.fetch.host_files import HostFiles
from pipelines.fetch.hosts import Asked, Image, Queue
from pipelines.fetch.job import WINDOW, Job, Work, redirected
from pipelines.fetch.origins import HostRules, origin_of, verdict_of
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.sink import Sink
from pipelines.fetch.store import Outcome
from pipelines.fetch.taker import Taker
from quality.block_lists import BlockLists
from schemas.scratch import Scratch, sweep

BACKLOG: Final = 16_000_000  # bytes that wait to be hashed and converted before no further request is begun
_READERS: Final = 4  # files of a folder that are read at a time


class Closing(Exception):
    """The engine is being closed."""


class Engine:
    """Fetches units side by side. Starts its threads at once; :meth:`close` ends them and removes temporary files.

    hosts: what hosts say of being asked, which redirects are held against too; None: it is asked for, and not kept.
    """

    def __init__(self, settings: FetchSettings, lists: BlockLists, *, threads: int, hosts: HostRules | None = None):
        _allow_connections()
        self.settings = settings
        self.hosts = HostRules(None, settings.agent) if hosts is None else hosts
        self._lists = lists
        sweep()
        self._folder = Scratch("fetch")
        self._came: queue.SimpleQueue[tuple[Image, Fetched | Failed | Outcome] | None] = queue.SimpleQueue()
        self._backlog = 0
        self._backlog_lock = threading.Lock()
        self._held_back = False
        self._closing = False
        self._numbers = 0
        self._requests = 0
        self._jobs: set[Job] = set()
        self._tasks: dict[asyncio.Task[None], Image] = {}
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="fetch-commit")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="fetch-read")
        self._loop = asyncio.new_event_loop()
        self._queue = Queue(share=settings.politeness.share, call_at=self._loop.call_at, wake=self._pump)
        self._client = self._loop.run_until_complete(self._make_client())
        self._host_files = HostFiles(self._client, self.hosts, settings, lists, self._loop, self._readers)
        self._loop_thread = threading.Thread(target=self._loop.run_forever, name="fetch-loop", daemon=True)
        self._workers = [
            threading.Thread(target=self._work, args=(Taker(settings, lists),), name=f"fetch-work-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in (self._loop_thread, *self._workers):
            thread.start()

    async def _make_client(self) -> Client:
        return Client(self.settings)

    def submit(self, work: Work) -> "Future[Any]":
        """Fetches the rows of a unit; returns the future of what `work.finish` returns. Units that were submitted first come first."""
        self._numbers += 1
        job = Job(self._numbers, work, Sink(self._folder.path / f"{self._numbers:06d}.tar", len(work.urls)))
        if job.complete:
            self._committer.submit(self._commit, job)
        else:
            self._loop.call_soon_threadsafe(self._add, job)
        return job.future

    def ask_hosts(self, origins: Sequence[str]) -> None:
        """Reads what origins say of being asked, side by side, and puts it into the pool. Blocks. For threads that are not the engine's."""
        asyncio.run_coroutine_threadsafe(self._host_files.read(origins), self._loop).result()

    def network_up(self) -> bool | None:
        """Whether one of the last hosts that answered answers now; None where none did before. Blocks; not for the engine's loop.

        Raises Closing: nobody can know any more, and the unit must not be committed.
        """
        if self._closing:
            raise Closing
        try:
            return asyncio.run_coroutine_threadsafe(self._host_files.canaries.any_answers(), self._loop).result()
        except CancelledError as error:
            raise Closing from error

    def close(self) -> None:
        """Ends all requests and threads; units that are not committed stay so, their futures are cancelled."""
        self._closing = True
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        for _ in self._workers:
            self._came.put(None)
        for worker in self._workers:
            worker.join()
        self._committer.shutdown()  # a commit may wait for the loop
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop_thread.join()
        self._readers.shutdown(cancel_futures=True)
        self._loop.close()
        self._folder.close()

    async def _close(self) -> None:
        jobs, self._jobs = self._jobs, set()
        for job in jobs:
            job.closed = True
            job.future.cancel()
        tasks = [*self._tasks, *self._host_files.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    # ---- in the loop

    def _add(self, job: Job) -> None:
        self._jobs.add(job)
        for host, gap_s in job.work.delays.items():
            self._queue.slow_down(host, gap_s)
        now = self._loop.time()
        for image in list(job.open.values()):
            self._enqueue(image, now)
        self._pump()

    def _enqueue(self, image: Image, now: float) -> None:
        """Lets the image wait for its host, unless the host wants to be left alone for longer than the unit lasts."""
        if self._queue.paused_until(image.host) > (image.job.deadline or now + self.settings.unit_timeout_s):
            self._settle(image, LATE)
        else:
            self._queue.add(image, now)

    def _pump(self) -> None:
        """Begins requests until a limit is reached."""
        while self._requests < self.settings.connections:
            if self._backlog >= BACKLOG:
                self._held_back = True
                if self._backlog >= BACKLOG:  # again: a worker that emptied the queue meanwhile did not know that it has to wake us
                    return
                self._held_back = False
            now = self._loop.time()
            popped = self._queue.pop(now)
            if popped is None:
                return
            image, down = popped
            if image.job.deadline is None:
                self._start_clock(image.job, now)
            if down is not None:
                self._settle(image, down)
                continue
            if image.give_up is None:
                image.give_up = now + self.settings.image_timeout_s
                if image.url is not None:
                    image.asked = Asked(image.url.raw_host or "", time.time(), now)
            self._requests += 1
            task = self._loop.create_task(self._ask(image))
            self._tasks[task] = image
            task.add_done_callback(self._tasks.pop)

    async def _ask(self, image: Image) -> None:
        answer: Answer | None = None
        try:
            answer = await (self._read_file(image) if image.url is None else self._get(image, image.url))
        except asyncio.CancelledError:
            if not image.job.closed:
                raise
        except Exception as error:  # a bug of ours: the job's owner gets it, the other jobs go on
            self._abandon(image.job, error)
        finally:
            self._requests -= 1
            if image.url is not None:
                self._queue.done(image.url, self._loop.time(), answer if isinstance(answer, Failed) else None)
        if answer is not None and not image.job.closed:
            self._heed(image, answer)
        self._pump()

    async def _get(self, image: Image, url: URL) -> Answer:
        if image.hops:  # where the list points to was looked at before
            try:
                async with asyncio.timeout_at(image.give_up):
                    rules = await self._host_files.rules_of(origin_of(url))
            except TimeoutError:
                return Failed("timeout", "robots.txt")
            refused, signals = verdict_of(rules, str(url), obeys=self.settings.optouts == "obey")
            image.say(signals)
            if rules.crawl_delay is not None:
                self._queue.slow_down(image.host, rules.crawl_delay * self.settings.workers)
            if refused is not None:
                return refused
        image.requests += 1
        answer = await self._client.get(url, deadline=image.give_up or 0.0)
        image.received += answer.received
        image.say(answer.signals)
        self._host_files.heard(url, answer)
        return answer

    async def _read_file(self, image: Image) -> Answer:
        assert image.file_name is not None
        try:
            data = await self._loop.run_in_executor(self._readers, image.job.work.read_image, image.file_name)
        except FileNotFoundError:
            return Failed("missing_file")
        except OSError as error:
            return Failed("missing_file", error.strerror or type(error).__name__)
        cap = self.settings.max_bytes
        return Fetched(data) if len(data) <= cap else Failed("too_large", f"more than {cap:,} bytes")

    def _heed(self, image: Image, answer: Answer) -> None:
        """Settles the image, or asks again elsewhere or later."""
        now = self._loop.time()
        if isinstance(answer, Moved):
            astray = self._follow(image, answer, now)
            if astray is not None:
                self._settle(image, astray)
            return
        if isinstance(answer, Fetched):
            image.job.came(image)
            self._settle(image, answer)
            return
        if answer.wait_s:
            for late in self._queue.pause(image.host, now + answer.wait_s):
                self._settle(late, LATE)
        again_at = now + max(answer.wait_s or 0.0, self._backoff(image))
        image.attempts += 1
        if not answer.again or image.attempts > self.settings.retries or again_at >= (image.give_up or 0.0):
            self._settle(image, answer)
        else:
            self._loop.call_at(again_at, self._again, image)

    def _follow(self, image: Image, moved: Moved, now: float) -> Failed | Outcome | None:
        """Asks where a redirect points to; or says why not."""
        astray = redirected(image, moved, self._lists, most=self.settings.max_redirects)
        if astray is None:
            self._enqueue(image, now)
        return astray

    def _backoff(self, image: Image) -> float:
        """Seconds until the next attempt: doubled each time, half to one and a half of that by a hash, so that retries spread."""
        digest = hashlib.sha256(f"{image.url} {image.attempts}".encode()).digest()
        return self.settings.backoff_s * 2**image.attempts * (0.5 + int.from_bytes(digest[:4], "big") / 2**32)

    def _again(self, image: Image) -> None:
        if not image.job.closed:
            self._enqueue(image, self._loop.time())
            self._pump()

    def _settle(self, image: Image, answer: Fetched | Failed | Outcome) -> None:
        del image.job.open[image.rows[0]]
        image.ended = self._loop.time()
        if isinstance(answer, Fetched):
            with self._backlog_lock:
                self._backlog += len(answer.data)
        self._came.put((image, answer))

    # ---- deadlines, in the loop

    def _start_clock(self, job: Job, now: float) -> None:
        limit = self.settings.unit_timeout_s
        job.begin(now, limit)
        job.timers = [
            self._loop.call_at(now + (1 - WINDOW) * limit, job.moves),
            self._loop.call_at(now + limit, self._deadline, job),
        ]

    def _deadline(self, job: Job) -> None:
        if job.closed or not job.open:
            return
        if job.moves():
            job.begin(self._loop.time(), WINDOW * self.settings.unit_timeout_s)
            job.timers = [self._loop.call_at(job.deadline or 0.0, self._deadline, job)]
            return
        job.closed = True
        for image in list(job.open.values()):
            self._settle(image, LATE)
        for task, image in self._tasks.items():
            if image.job is job:
                task.cancel()

    def _forget(self, job: Job) -> None:
        """Lets go of a job that is through: its timers would hold it, and its unit's rows, until its deadline."""
        self._jobs.discard(job)
        for timer in job.timers:
            timer.cancel()

    def _abandon(self, job: Job, error: BaseException) -> None:
        job.closed = True
        if not job.future.done():
            job.future.set_exception(error)

    # ---- in the worker and commit threads

    def _work(self, taker: Taker) -> None:
        while (taken := self._came.get()) is not None:
            image, answer = taken
            job = image.job
            try:
                if not job.future.done() and self._take(image, answer, taker):
                    self._committer.submit(self._commit, job)
            except Exception as error:  # a bug of ours: the job's owner gets it, the other jobs go on
                self._abandon(job, error)
            if isinstance(answer, Fetched):
                with self._backlog_lock:
                    self._backlog -= len(answer.data)
                if self._held_back and self._backlog < BACKLOG // 2:
                    self._held_back = False
                    with contextlib.suppress(RuntimeError):  # the loop is closed
                        self._loop.call_soon_threadsafe(self._pump)
        taker.close()

    def _take(self, image: Image, answer: Fetched | Failed | Outcome, taker: Taker) -> bool:
        """Puts the outcome of an image into all of its rows; True when the unit is complete."""
        job = image.job
        if not isinstance(answer, Fetched):
            return job.put_all(image, answer)
        final_url = None if image.url is None else str(image.url)
        return job.put(
            image, taker.take(answer.data, job.claims_of(image), final_url, image.signals, apart=job.work.apart, unit=job.number)
        )

    def _commit(self, job: Job) -> None:
        try:
            if job.future.cancelled():
                return
            self.hosts.put_learnt()
            job.future.set_result(job.work.finish(job.sink.whole(), job.sink.close(), self.network_up))
        except Exception as error:  # goes to the one who asked for the unit
            self._abandon(job, error)
        finally:
            job.sink.discard()
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._forget, job)


def _allow_connections() -> None:
    """As many open files as this process may have: the usual 1,024 are fewer than the hosts that are asked at a time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
