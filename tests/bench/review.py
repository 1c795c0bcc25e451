"""The review's server under load: annotators who judge at once, while the server is killed again and again.

    python -m tests.bench.review [--people 50] [--seconds 120] [--kills 20] [--database sqlite|postgres] [--json]

Everybody is logged in before the clock starts. Then each asks for the next item, loads its image, thinks 1 to 3 s (seeded) and decides. A
call that finds no server is made again with the same key after 0.3 to 1.5 s, as the page does. The server is killed with SIGKILL at even
intervals and started again at once. Reported: milliseconds of calls that a living server answered, the same from the first try on
(`with_outage`), and what the database says in the end: `lost` answers were acknowledged and are not there, `doubled` are there twice,
`crowded` tasks have more answers than people were to be asked. Client, server and database share this machine's cores: `cpu_ms` says what each
of them took for a call, and the server for a start.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from sqlalchemy import func, select

from quality.review.server.auth import add_account
from quality.review.server.database import ENVIRONMENT, Database, open_database, url_of
from quality.review.server.models import accounts, journal, seats, tasks
from schemas.store import Store
from tests.reviews import PASSWORD, Server, make_pool, many_tasks, postgres, put_tasks

_SECONDS_A_ITEM = 2  # thinking, on average


@dataclass
class Seen:
    """What the clients saw. times: call: ms of the answered try; whole: from the first try."""

    times: dict[str, list[float]] = field(default_factory=dict)
    whole: dict[str, list[float]] = field(default_factory=dict)
    saved: list[tuple[int, str, str, str, int]] = field(default_factory=list)  # person, task, key, answer, record
    refused: Counter = field(default_factory=Counter)
    retries: int = 0
    cpu: float = 0.0  # seconds that all of them took


class Annotator:
    """One person with a browser."""

    def __init__(self, number: int, url: str, seen: Seen):
        self.number, self.url, self.seen = number, url, seen
        self.random = random.Random(number)

    async def log_in(self) -> None:
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=30))
        async with self.http.get(f"{self.url}/login") as page:
            token = _token(await page.text())
        form = {"csrf": token, "name": f"person{self.number}", "password": PASSWORD}
        async with self.http.post(f"{self.url}/login", data=form) as page:
            assert page.url.path == "/judge", await page.text()
            self.csrf = re.findall(r'data-csrf="([^"]+)"', await page.text())[0]

    async def work(self, until: float) -> None:
        await asyncio.sleep(self.random.uniform(0, 1))
        while time.monotonic() < until:
            found = await self.call("next", "POST", "/api/next", {"shown": []})
            if found is None or found["item"] is None:
                await asyncio.sleep(1)
                continue
            task = found["item"]["task"]
            await self.call("image", "GET", f"/image/{task}")
            await asyncio.sleep(self.random.uniform(1, 3))
            key, answer = f"{self.random.getrandbits(128):032x}", self.random.choice(["yes", "no", "unsure"])
            body = {"task": task, "key": key, "answer": answer, "seconds": 2.0, "reasons": []}
            if answer == "no" and found["item"]["keep"]:
                body["reasons"] = ["image:blurred"]
            saved = await self.call("decide", "POST", "/api/decide", body)
            if saved is not None:
                self.seen.saved.append((self.number, task, key, answer, saved["saved"]))
        await self.http.close()

    async def call(self, name: str, method: str, path: str, body: Any = None) -> Any:
        """The answer, after as many tries as it takes; None where the server refused."""
        first = time.monotonic()
        while True:
            start = time.monotonic()
            try:
                async with self.http.request(method, self.url + path, json=body, headers={"x-csrf-token": self.csrf}) as response:
                    data = await response.read()
                    if response.status >= 500:
                        raise aiohttp.ClientError(response.status)
                    break
            except (aiohttp.ClientError, OSError, TimeoutError):
                self.seen.retries += 1
                await asyncio.sleep(0.3 + self.random.random() * 1.2)
        now = time.monotonic()
        self.seen.times.setdefault(name, []).append(1000 * (now - start))
        self.seen.whole.setdefault(name, []).append(1000 * (now - first))
        if response.status != 200:
            self.seen.refused[f"{name} {response.status} {data[:60].decode(errors='replace')}"] += 1
            return None
        return json.loads(data) if method == "POST" else data


def _token(page: str) -> str:
    return re.findall(r'name="csrf" value="([^"]+)"', page)[0]


async def _annotate(url: str, people: int, seconds: float, begin: threading.Event) -> Seen:
    seen = Seen()
    everybody = [Annotator(number, url, seen) for number in range(people)]
    for person in everybody:
        await person.log_in()
    begin.set()
    until, before = time.monotonic() + seconds, time.thread_time()
    await asyncio.gather(*(person.work(until) for person in everybody))
    seen.cpu = time.thread_time() - before
    return seen


@dataclass
class Cpu:
    """Seconds of CPU that the server took: its calls, after each start, and its starts."""

    calls: float = 0.0
    starts: float = 0.0
    started: float = 0.0

    def start(self, server: Server) -> None:
        self.started = _cpu(psutil.Process(server.process.pid))
        self.starts += self.started

    def end(self, server: Server) -> None:
        self.calls += _cpu(psutil.Process(server.process.pid)) - self.started


def _cpu(process: psutil.Process) -> float:
    """Of a process and its children, those that ended included."""
    living = 0.0
    for child in process.children():
        with suppress(psutil.NoSuchProcess):  # it has ended since, and is in its parent's times below
            living += _cpu(child)
    times = process.cpu_times()
    return living + times.user + times.system + times.children_user + times.children_system


def _kill(server: Server, kills: int, seconds: float, begin: threading.Event, down: list[float], cpu: Cpu) -> None:
    """Kills and starts the server, `kills` times within `seconds`."""
    begin.wait()
    cpu.start(server)
    start = time.monotonic()
    for number in range(kills):
        time.sleep(max(0.0, start + (number + 0.5) * seconds / kills - time.monotonic()))
        killed = time.monotonic()
        cpu.end(server)
        server.kill()
        server.start()
        cpu.start(server)
        down.append(time.monotonic() - killed)


def measure(folder: Path, url: str | None, *, people: int, seconds: float, kills: int, pid: int | None = None) -> dict[str, Any]:
    """One run over a fresh dataset in `folder`. url: of a PostgreSQL, or None for SQLite. pid: of its first process, to ask what it takes."""
    root = folder / "data"
    pool, pairs = make_pool(root, images=48)
    put_tasks(pool, many_tasks(pairs, int(people * seconds / _SECONDS_A_ITEM * 1.3) + 100, gold_every=20, keep_every=7))
    database = open_database(url_of(Store(root), url))
    with database.write() as connection:
        for number in range(people):
            add_account(connection, f"person{number}", "annotator", PASSWORD)
    server = Server(root, "--overlap_share", "0.1", "--exposure_cap", "10000", env={ENVIRONMENT: url} if url else None).start()
    begin, down, cpu = threading.Event(), list[float](), Cpu()
    killer = threading.Thread(target=_kill, args=(server, kills, seconds, begin, down, cpu))
    killer.start()
    try:
        load = os.getloadavg()[0]
        of_database = _cpu(psutil.Process(pid)) if pid else 0.0
        seen = asyncio.run(_annotate(server.url, people, seconds, begin))
        killer.join()
        cpu.end(server)
        of_database = _cpu(psutil.Process(pid)) - of_database if pid else 0.0
    finally:
        begin.set()
        server.stop()
    found = {
        "people": people,
        "seconds": seconds,
        "kills": len(down),
        "load_before": load,
        "down_s": round(sum(down), 1),
        "retries": seen.retries,
    }
    calls = sum(len(times) for times in seen.times.values())
    of = {"server": cpu.calls, "database": of_database, "client": seen.cpu}
    found["cpu_ms"] = {name: round(1000 * seconds / calls, 1) for name, seconds in of.items()}
    found["cpu_ms"]["start"] = round(1000 * cpu.starts / (len(down) + 1))
    found |= {name: _quantiles(times) for name, times in sorted(seen.times.items())}
    found["with_outage"] = {name: _quantiles(times) for name, times in sorted(seen.whole.items())}
    found |= {"refused": dict(seen.refused), **audit(database, seen)}
    database.close()
    return found


def audit(database: Database, seen: Seen) -> dict[str, int]:
    """What the database holds against what the clients were told."""
    with database.read() as connection:
        names = {row.id: int(row.name.removeprefix("person")) for row in connection.execute(select(accounts.c.id, accounts.c.name))}
        rows = connection.execute(select(journal).where(journal.c.act == "answer")).all()
        there = Counter((names[row.account], row.task, row.key, row.answer, row.id) for row in rows)
        standing = set(connection.execute(select(seats.c.record).where(seats.c.state == "answered")).scalars())
        answered = func.count().filter(seats.c.state == "answered")
        asked = connection.execute(
            select(tasks.c.task, tasks.c.overlap, tasks.c.draw, answered.label("n"))
            .join(seats, seats.c.task == tasks.c.task)
            .where(tasks.c.queue != "gold")
            .group_by(tasks.c.task, tasks.c.overlap, tasks.c.draw)
        ).all()
    told = Counter(seen.saved)
    people = Counter((row.task, row.account) for row in rows)
    return {
        "decided": len(seen.saved),
        "lost": sum((told - there).values()) + sum(saved[-1] not in standing for saved in told),
        "doubled": sum(count - 1 for count in people.values()),
        "crowded": sum(row.n > (2 if row.draw < 0.1 else row.overlap) for row in asked),
        "unknown": sum((there - told).values()),
    }


def _quantiles(times: list[float]) -> dict[str, float]:
    return {"n": len(times)} | {f"p{q}": round(float(np.quantile(times, q / 100)), 1) for q in (50, 95, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgres"), action="append")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    for kind in args.database or ["sqlite", "postgres"]:
        folder = Path(tempfile.mkdtemp(prefix="pigment-review-"))
        try:
            with nullcontext() if kind == "sqlite" else postgres() as given:
                url, pid = given or (None, None)
                found = measure(folder, url, people=args.people, seconds=args.seconds, kills=args.kills, pid=pid)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if args.json:
            print(json.dumps({"database": kind, **found}))
            continue
        print(f"\n{kind}: {found['people']} people, {found['seconds']:g} s, {found['kills']} kills, load before {found['load_before']:.1f}")
        print(f"  down {found['down_s']} s in all, {found['retries']} calls made again; refused: {found['refused'] or 'none'}")
        for name in ("next", "decide", "image"):
            alive, whole = found[name], found["with_outage"][name]
            figures = "  ".join(f"{each} {alive[each]:>7} ms" for each in ("p50", "p95", "p99"))
            print(f"  {name:<7} {alive['n']:>6}  {figures}   with outages p95 {whole['p95']} ms")
        print("  CPU a call: " + "  ".join(f"{name} {found['cpu_ms'][name]} ms" for name in ("server", "database", "client")), end="")
        print(f";  a start of the server {found['cpu_ms']['start']} ms")
        print("  " + "  ".join(f"{word} {found[word]}" for word in ("decided", "lost", "doubled", "crowded", "unknown")))


if __name__ == "__main__":
    main()
