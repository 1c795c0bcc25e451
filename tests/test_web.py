"""The small web does on the wire what its table says, and says the same each time."""

import csv
import hashlib
import http.client
import io
import json
import socket
import time
from urllib.parse import urljoin, urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.web import SmallWeb
from tests.web.answers import ENDLESS, LATE
from tests.web.client import CAP, Failed, connect, decodes, get, once, request, rows, stored
from tests.web.images import CARD_SIZE, QUARTERS
from tests.web.plan import COLUMNS, SAMPLE, address


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with SmallWeb(SAMPLE, tmp_path_factory.mktemp("web"), small=True) as web:
        yield web


@pytest.fixture
def web(shared):
    shared.reset()
    return shared


def test_rows_that_succeed_end_in_the_bytes_that_the_table_names(web):
    for row in web.table:
        if row.status == "success" and row.copy_of is None:
            body = stored(web, row)
            assert hashlib.sha256(body).hexdigest() == row.sha256, row
            assert decodes(body) == (row.decodes == "whole"), row


def test_requests_are_counted_as_the_table_names_them(web):
    for row in web.table:
        if row.requests and row.status == "success" and row.copy_of is None and row.fault not in ("plain", "slow"):
            stored(web, row)
            assert web.attempts(*address(row.url)) == row.requests, row


def test_rows_that_fail_do_so_for_the_reason_in_the_table_at_every_attempt(web):
    failing = [row for row in web.table if row.status not in ("success", "invalid")]
    assert len(failing) > 30
    for row in failing:
        for _ in range(1 if row.error == "timeout" else 2):
            with pytest.raises(Failed, match=f"^{row.error}$"):
                once(web, row.url)


def test_a_code_holds_for_one_attempt_and_a_reset_brings_it_back(web):
    (row,) = rows(web, "once_429")
    for _ in range(2):
        statuses = [get(web, row.url) for _ in range(4)]
        assert [answer.status for answer in statuses] == [429, 200, 200, 200]
        assert statuses[0].getheader("Retry-After") == "1"
        assert [attempt for *_, attempt in web.requests] == [1, 2, 3, 4]
        web.reset()
    assert web.requests == []


def test_other_urls_do_not_change_the_attempt(web):
    (row,) = rows(web, "once_500")
    for other in rows(web, "plain"):
        assert get(web, other.url).status == 200
    assert [get(web, row.url).status for _ in range(2)] == [500, 200]


def test_connections_are_kept_and_requests_answered_in_order(web):
    wanted = [row for row in web.table if row.fault in ("plain", "slow", "chunked", "mislabelled", "http_404")]
    assert {row.fault for row in wanted} == {"plain", "slow", "chunked", "mislabelled", "http_404"}
    with connect(web, wanted[0].url) as sock:
        sock.sendall(b"".join(request(row.url) for row in wanted))  # pipelined
        stream = sock.makefile("rb")
        for row in wanted:
            response = http.client.HTTPResponse(_Kept(stream), method="GET")  # type: ignore[arg-type]
            response.begin()
            body = response.read()
            if row.sha256 is None:
                assert response.status == 404
            else:
                assert hashlib.sha256(body).hexdigest() == row.sha256


class _Kept:
    """What HTTPResponse needs of a socket, over a stream that outlives the response."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream = stream

    def makefile(self, mode: str) -> "_Kept":
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def close(self) -> None:
        pass


def test_a_slow_answer_is_late_and_in_pieces(web):
    row = rows(web, "slow")[0]
    with connect(web, row.url) as sock:
        start = time.monotonic()
        sock.sendall(request(row.url))
        sock.recv(1)
        assert time.monotonic() - start >= LATE - 0.01


def test_an_endless_body_goes_on_past_the_cap_and_ends_with_the_client(web, caplog):
    (row,) = rows(web, "endless")
    before = web.connections
    with connect(web, row.url) as sock:
        sock.sendall(request(row.url))
        assert b"content-length" not in sock.recv(4096, socket.MSG_PEEK).partition(b"\r\n\r\n")[0].lower()
        received = 0
        while received < CAP:
            received += len(sock.recv(1 << 20))
    assert ENDLESS <= 60_000_000
    deadline = time.monotonic() + 5
    while web.connections > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert web.connections <= before
    assert caplog.messages == [], "the server wrote to a connection that was gone"


def test_headers_are_written_as_odd_as_the_table_says(web):
    (row,) = rows(web, "wrong_case")
    with connect(web, row.url) as sock:
        sock.sendall(request(row.url))
        head = sock.recv(4096)
    assert b"content-TYPE: IMAGE/" in head
    assert b"CONTENT-length: " in head
    assert get(web, rows(web, "unlabelled")[0].url).getheader("Content-Type") is None
    (row,) = rows(web, "mislabelled")
    assert Image.MIME[Image.open(io.BytesIO(once(web, row.url))).format] != get(web, row.url).getheader("Content-Type")
    assert get(web, rows(web, "html_as_jpeg")[0].url).getheader("Content-Type") == "image/jpeg"


def test_only_get_is_answered_and_only_it_counts(web):
    row = rows(web, "plain")[0]
    for method in ("HEAD", "POST"):
        with connect(web, row.url) as sock:
            sock.sendall(request(row.url, method=method))
            assert sock.recv(4096).startswith(b"HTTP/1.1 405 ")
    assert web.requests == []


def test_unknown_pages_and_hosts(web):
    url = rows(web, "plain")[0].url
    assert get(web, urljoin(url, "/robots.txt")).status == 404
    with connect(web, url) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 421 ")
    with connect(web, url) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("fault", ["card_orientation_6", "card_orientation_8"])
def test_the_card_is_upright_once_its_orientation_is_obeyed(web, fault):
    image = Image.open(io.BytesIO(once(web, rows(web, fault)[0].url)))
    assert image.size == CARD_SIZE[::-1]
    upright = ImageOps.exif_transpose(image)
    assert upright.size == CARD_SIZE
    width, height = CARD_SIZE
    for place, colour in QUARTERS.items():
        x = width // 4 + width // 2 * place.endswith("right")
        y = height // 4 + height // 2 * place.startswith("bottom")
        assert np.abs(np.array(upright.getpixel((x, y))) - colour).max() < 12, place


def test_odd_images_are_what_they_are_called(web):
    body = {row.fault: once(web, row.url) for row in web.table if row.status == "success" and row.source_id.endswith("/" + row.fault)}
    image = {fault: Image.open(io.BytesIO(data)) for fault, data in body.items()}
    assert image["cmyk_jpeg"].mode == "CMYK"
    assert b"Adobe" in body["cmyk_jpeg"]
    assert image["grey_jpeg"].mode == "L"
    assert image["progressive_jpeg"].info["progressive"]
    assert body["grey16_png"][24:26] == b"\x10\x00"  # IHDR: bits, colour type
    assert body["rgb16_png"][24:26] == b"\x10\x02"
    for fault in ("grey16_png", "rgb16_png"):
        deep = cv2.imdecode(np.frombuffer(body[fault], np.uint8), cv2.IMREAD_UNCHANGED)
        assert deep.dtype == np.uint16
        assert deep.std() > 256
    assert image["palette_png"].mode == "P"
    assert image["palette_png"].convert("RGBA").getpixel((0, 0))[3] == 0
    assert image["palette_png"].convert("RGBA").getpixel((20, 20))[3] == 255
    assert (image["animated_gif"].format, image["animated_gif"].n_frames) == ("GIF", 3)
    assert (image["animated_webp"].format, image["animated_webp"].n_frames) == ("WEBP", 3)
    assert image["dot_gif"].size == (1, 1)
    assert image["tiny_png"].size == (2, 2)
    assert Image.open(io.BytesIO(get(web, rows(web, "plain")[0].url).read())).size > (16, 16)


def test_copies_have_the_bytes_of_their_row_and_another_url(web):
    by_id = {row.source_id: row for row in web.table}
    copies = [row for row in web.table if row.copy_of]
    assert {row.fault for row in copies} == {"copy", "pair_again", "other_caption", "caption_lines"}
    for row in copies:
        first = by_id[row.copy_of]
        assert row.sha256 == first.sha256 == hashlib.sha256(once(web, row.url)).hexdigest()
        assert (row.url == first.url) == (row.fault != "copy")
        assert (row.pair["caption"] == first.pair["caption"]) == (row.fault in ("copy", "pair_again"))


def test_the_source_list_is_the_table(web):
    with web.pairs_csv.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert listed == [row.pair for row in web.table]
    assert tuple(listed[0]) == COLUMNS
    assert [row.number for row in web.table] == list(range(len(listed)))
    assert len({row.source_id for row in web.table}) == len(listed)
    assert not any(":" in urlsplit(row.url).netloc for row in web.table if row.status == "success")


def test_two_webs_live_beside_each_other_and_are_gone_after(tmp_path):
    ports = []
    with SmallWeb(SAMPLE, tmp_path / "a", small=True) as one, SmallWeb(SAMPLE, tmp_path / "b", small=True) as other:
        for web in (one, other):
            addresses = json.loads(web.host_map.read_text())
            assert set(addresses) == {*web.plan.serving, *web.plan.refusing, *web.plan.silent}
            assert {address.partition(":")[0] for address in addresses.values()} == {"127.0.0.1"}
            ports.append({int(address.partition(":")[2]) for address in addresses.values()})
            assert once(web, rows(web, "plain")[0].url)
        kept = connect(one, rows(one, "plain")[0].url)
        stalled = connect(one, rows(one, "stalled")[0].url)
        stalled.sendall(request(rows(one, "stalled")[0].url))
        assert stalled.recv(1)
    assert len(ports[0]) == len(ports[1]) == 3
    assert not ports[0] & ports[1]
    assert (tmp_path / "a" / "pairs.csv").read_bytes() == (tmp_path / "b" / "pairs.csv").read_bytes()
    for port in ports[0] | ports[1]:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    with kept, stalled:
        assert kept.recv(1) == b""
