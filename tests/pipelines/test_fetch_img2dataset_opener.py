"""What img2dataset's process sends for a url, and what it makes of the answer; without img2dataset."""

import contextlib
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import Request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.fetch.client import LATE, Failed, Fetched, Moved
from pipelines.fetch.hosts import DOWN_AFTER
from pipelines.fetch.img2dataset_opener import Asked, NotTaken, Opener, turn_url
from tests.pipelines.fetching import Reply, Server, host_map, settings
from tests.tars import shot


def ask(opener: Opener, *urls: str, delays: dict[str, float] | None = None, seconds: float = 60.0, others_s: float | None = None) -> list:
    """Of a round that one thread asks for, in the order of the urls: (the body that img2dataset is given, or None; what is told of it)."""
    opener.begin(list(urls), delays or {}, seconds=seconds, others_s=others_s)
    found: dict[int, tuple[bytes | None, Asked | None]] = {}
    for number in range(len(urls)):
        body = None
        with contextlib.suppress(NotTaken), opener.open(Request(turn_url(number))) as response:
            body = response.read()
        told = opener.told(number)
        assert told is not None and opener.told(number) is None
        found[told[0]] = body, told[1]
    assert opener.answers == {}
    return [found[place] for place in range(len(urls))]


def answers(found: list) -> list:
    return [None if asked is None else asked.answer for _, asked in found]


def test_a_url_is_sent_as_it_is_written():
    path = "/a%7Eb/%2e%2e/c.jpg?sig=a%2Bb%2Fc%3D&x=%41"
    with Server({path: Reply(body=shot(1))}) as server:
        assert ask(Opener(settings()), server.url(path))[0][0] == shot(1)
        assert [asked for _, asked, _ in server.log] == [path]


def test_of_an_error_page_the_headers_say_nothing_of_an_image():
    with Server({"/gone": Reply(404, headers={"X-Robots-Tag": "noai"}), "/busy": Reply(503, headers={"tdm-reservation": "1"})}) as server:
        found = ask(Opener(settings()), server.url("/gone"), server.url("/busy"))
    assert answers(found) == [Failed("http_404"), Failed("http_503", again=True)]


def test_bodies_are_not_kept_beside_img2datasets_own():
    with Server(lambda path: Reply(body=shot(int(path[1:])), headers={"tdm-reservation": "0"})) as server:
        found = ask(Opener(settings()), server.url("/0"), server.url("/1"))
    assert [body for body, _ in found] == [shot(0), shot(1)]
    assert answers(found) == [Fetched(b"", {"tdmrep-header:0": True}, len(shot(number))) for number in range(2)]


def test_a_host_that_wants_to_be_left_alone_for_long_is_not_asked_again(tmp_path):
    """Longer than the unit lasts; in the round that it said so, and in the next. Others are asked."""
    with (
        Server({"/busy": Reply(503, headers={"Retry-After": "100"}), "/a": Reply(body=shot(1))}) as server,
        Server({"/b": Reply()}) as other,
    ):
        told = settings(connections_per_host=1, host_map=host_map(tmp_path, {"other.test": f"127.0.0.1:{other.port}"}))
        opener = Opener(told)
        found = ask(opener, server.url("/busy"), server.url("/a"), "http://other.test/b")
        assert answers(found) == [Failed("http_503", again=True, wait_s=100.0), LATE, Fetched(b"")]
        assert [asked.sent for _, asked in found] == [True, False, True]
        assert answers(ask(opener, server.url("/a"), "http://other.test/b")) == [LATE, Fetched(b"")]
        assert [path for _, path, _ in server.log] == ["/busy"]


def test_a_short_retry_after_is_waited_for_and_holds_up_nobody_else(tmp_path):
    with Server({"/busy": Reply(503, headers={"Retry-After": "1"}), "/a": Reply(body=shot(1))}) as server, Server({"/b": Reply()}) as other:
        told = settings(connections_per_host=1, backoff_s=9.0, host_map=host_map(tmp_path, {"other.test": f"127.0.0.1:{other.port}"}))
        found = ask(Opener(told), server.url("/busy"), server.url("/a"), "http://other.test/b")
        assert [body for body, _ in found] == [None, shot(1), b""]
        busy, after, beside = (log[-1][2] for log in (server.log[:1], server.log, other.log))
        assert after - busy >= 0.95 and beside - busy < 0.5


def test_a_host_that_is_down_is_let_alone():
    down = "http://127.0.0.1:9"
    with Server({"/b": Reply()}) as other:
        found = ask(Opener(settings(connections_per_host=1)), *[f"{down}/{number}" for number in range(DOWN_AFTER + 2)], other.url("/b"))
    assert [asked.sent for _, asked in found] == [*[True] * DOWN_AFTER, False, False, True]
    assert {asked.answer.message for _, asked in found[:-1]} == {"connect"} and not found[-2][1].answer.again


def test_a_delay_that_a_later_round_brings_counts():
    with Server(lambda path: Reply(body=shot(1))) as server:
        opener = Opener(settings())
        ask(opener, server.url("/0"))
        ask(opener, server.url("/1"), server.url("/2"), delays={"127.0.0.1": 0.6})
        times = [at for _, _, at in server.log]
    assert times[2] - times[1] >= 0.55


def test_what_has_to_wait_for_its_host_is_given_back_where_there_is_other_work():
    with Server({"/away": Reply(302, headers={"Location": "/x"}), "/a": Reply(body=shot(1))}) as server:
        opener, delays = Opener(settings()), {"127.0.0.1": 30.0}
        assert answers(ask(opener, server.url("/away"), server.url("/a"), delays=delays)) == [Moved(server.url("/x")), None]
        began = time.monotonic()
        assert answers(ask(opener, server.url("/a"), others_s=0.3)) == [None] and 0.25 < time.monotonic() - began < 5


def certificate(host: str) -> bytes:
    """PEM of a certificate that signs itself, and of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )  # fmt: skip
    written = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return written + key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)


@pytest.mark.parametrize(("where", "named"), [("s.example", "s.example"), ("s.example:8443", "s.example:8443")])
def test_host_names_a_port_that_is_not_the_schemes(tmp_path, where, named):
    file = tmp_path / "s.pem"
    file.write_bytes(certificate("s.example"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.extend(self.headers.get_all("Host", []))
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        opener = Opener(settings(host_map=host_map(tmp_path, {"s.example": f"127.0.0.1:{server.server_address[1]}"})))
        opener._tls.load_verify_locations(file)
        assert answers(ask(opener, f"https://{where}/a.jpg")) == [Failed("http_404")]
        thread.join()
    assert asked == [named]
