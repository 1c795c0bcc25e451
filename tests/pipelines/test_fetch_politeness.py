"""What a host's owner sees of us: how often, how many at a time, and under which name."""

import multiprocessing
import time

import pytest

from pipelines.fetch.hosts import host_of
from pipelines.fetch.politeness import HostLimit, HostsError, Politeness, Share, read_hosts_file
from pipelines.fetch.settings import FetchSettings
from quality.urls import url_of
from schemas.pool import Pool
from tests.pipelines.fetching import Reply, Server, fetch, jpeg

OTHERS = (HostLimit("*.example.org", connections=32), HostLimit("a.example.org", rate=5.0), HostLimit("*.b.example.org", 2, 1.0))


@pytest.mark.parametrize(
    ("host", "connections", "rate"),
    [
        ("example.org", 8, None),
        ("x.example.org", 32, None),
        ("a.example.org", 8, 5.0),
        ("x.a.example.org", 32, None),
        ("x.b.example.org", 2, 1.0),
        ("badexample.org", 8, None),
        ("a.example.org.", 8, 5.0),
        ("x.example.org.", 32, None),
    ],
)
def test_the_longest_name_that_fits_counts(host, connections, rate):
    found = Politeness(connections=8, rate=None, hosts=OTHERS).of(host)
    assert (found.connections, found.rate) == (connections, rate)


def test_workers_share_what_a_host_allows():
    politeness = Politeness(connections=9, rate=10.0, workers=4)
    assert politeness.share("a.test") == Share(connections=2, gap_s=0.4)
    assert politeness.most_workers == 9
    assert Politeness(connections=9, rate=None, hosts=OTHERS).most_workers == 2


def test_more_workers_than_connections_are_refused():
    with pytest.raises(ValueError, match=r"5 workers cannot share 4 connections to a host: each needs one"):
        FetchSettings(connections_per_host=4, workers=5)
    with pytest.raises(ValueError, match="5 workers cannot share 2 connections"):
        FetchSettings(connections_per_host=8, workers=5, hosts=OTHERS)


def test_hosts_file(tmp_path):
    path = tmp_path / "hosts.toml"
    path.write_text('[hosts."*.example.com"]\nconnections = 32\n[hosts."images.example.org"]\nconnections = 2\nrate = 5\n')
    assert read_hosts_file(path) == (HostLimit("*.example.com", 32), HostLimit("images.example.org", 2, 5.0))


def test_names_are_compared_as_they_are_sent(tmp_path):
    path = tmp_path / "hosts.toml"
    path.write_text(
        '[hosts."bücher.de"]\nrate = 1\n[hosts."*.말뭉치.test"]\nrate = 2\n[hosts."a.example."]\nrate = 3\n',
        "utf-8",
    )
    politeness = Politeness(connections=8, rate=None, hosts=read_hosts_file(path))
    urls = ("http://bücher.de/1", "http://xn--bcher-kva.de./1", "http://x.말뭉치.test/", "http://a.example/", "http://b.example/")
    assert [politeness.of(host_of(url_of(url))).rate for url in urls] == [1.0, 1.0, 2.0, 3.0, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[hosts.a]\nspeed = 1", r'\[hosts."a"\]: speed: it can have connections and rate'),
        ("[hosts.a]\nconnections = 0", "connections = 0: it has to be a whole number from 1"),
        ("[hosts.a]\nconnections = true", "connections = True"),
        ("[hosts.a]\nrate = 0", "rate = 0: it has to be a number above 0"),
        ('[hosts."http://a"]\nrate = 1', "without scheme or port"),
        ('[hosts."A.test"]\nrate = 1', "in small letters"),
        ('[hosts."*"]\nrate = 1', "below it"),
        ('[hosts."a b.test"]\nrate = 1', r'\[hosts."a b.test"\]: no host can have this name'),
        (f'[hosts."{"bü" * 40}.de"]\nrate = 1', "no host can have this name"),
        ('[hosts."a..test"]\nrate = 1', "no host can have this name"),
        ('[hosts."bücher.de"]\nrate = 1\n[hosts."xn--bcher-kva.de."]\nrate = 2', r"xn--bcher-kva\.de has a table already; put both"),
        ("hosts = 3", "only tables"),
        ("[host.a]\nrate = 1", r"host: only tables \[hosts"),
        ("[hosts.a\n", "write e.g."),
    ],
)
def test_a_wrong_hosts_file_is_told(tmp_path, text, told):
    path = tmp_path / "hosts.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(HostsError, match=told):
        read_hosts_file(path)
    with pytest.raises(HostsError, match=r"none\.toml"):
        read_hosts_file(tmp_path / "none.toml")


def _fetch_some(folder: str, urls: list[str], changes: dict) -> None:
    rows = fetch(Pool(folder), urls, allow_private_hosts=True, **changes)
    assert rows is not None and {row["status"] for row in rows} == {"success"}


def _four_workers(tmp_path, server: Server, per_worker: int, **changes) -> float:
    """Seconds that four processes take for their urls of one host."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=_fetch_some,
            args=(str(tmp_path / str(worker)), [server.url(f"/{worker}-{row}") for row in range(per_worker)], {"workers": 4, **changes}),
        )
        for worker in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    times = sorted(when for _, _, when in server.log)
    return times[-1] - times[0]


def test_four_workers_together_keep_to_a_hosts_rate(tmp_path):
    """Measured at the server: 20 requests a second of all, whatever second one looks at."""
    with Server(lambda path: Reply(body=jpeg())) as server:
        _four_workers(tmp_path, server, 10, rate_per_host=20.0)
    times = sorted(when for _, _, when in server.log)
    assert len(times) == 40
    for start in times:
        assert sum(start <= when < start + 1.0 for when in times) <= 20 + 4  # each worker may begin one at once


def test_four_workers_together_keep_to_a_hosts_connections(tmp_path):
    with Server(lambda path: Reply(body=jpeg(), delay=0.05)) as server:
        _four_workers(tmp_path, server, 12, connections_per_host=4)
    assert len(server.log) == 48
    assert server.most <= 4


def test_a_host_with_its_own_limit(tmp_path):
    with Server(lambda path: Reply(body=jpeg(), delay=0.02)) as server:
        urls = [server.url(f"/{row}") for row in range(10)]
        rows = fetch(Pool(tmp_path / "pool"), urls, hosts=(HostLimit("127.0.0.1", connections=1, rate=50.0),))
    assert rows is not None and server.most == 1
    times = [when for _, _, when in server.log]
    assert times[-1] - times[0] >= 9 / 50 * 0.9


def test_requests_say_who_asks():
    assert FetchSettings(contact="me@example.org").header == "pigment/0.1 (text-image data sets; me@example.org)"
    assert FetchSettings(user_agent="OurBot/2", contact="https://example.org/bot").agent == "ourbot"
    for wrong in ("nobody", "a b@example.org", "me@example.org\r\nX: y", "me@(x).org"):
        with pytest.raises(ValueError, match="contact is"):
            FetchSettings(contact=wrong)
    for wrong in ("", "1/2", "a\r\nb", "봇"):
        with pytest.raises(ValueError, match="user_agent is"):
            FetchSettings(user_agent=wrong)


def test_without_a_contact_only_this_machine_is_asked(tmp_path):
    began = time.monotonic()
    rows = fetch(Pool(tmp_path), ["http://192.0.2.1/a.jpg", "http://[2001:db8::1]/a.jpg"], allow_private_hosts=True)
    assert rows is not None and time.monotonic() - began < 5
    assert {(row["status"], row["error_message"]) for row in rows} == {("refused", "no_contact: say who asks: --contact")}
