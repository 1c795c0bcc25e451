"""What one url makes of its row: each status word, from real answers."""

import gzip
import hashlib
import io
import struct
import zlib

import pytest
from PIL import Image

from pipelines.fetch.settings import FetchSettings
from quality.images.convert import Target
from schemas.columns import uid_of
from schemas.pool import Pool
from tests.pipelines.fetching import Reply, Server, fetch, image_of, jpeg


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PIC = jpeg(7, side=32)
PNG_200_MEGAPIXELS = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"x")
TOO_LARGE = "too_large: more than 1,000,000 bytes"
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> Reply:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Reply(raw=head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end)


GOOD = {
    "/plain": Reply(body=PIC),
    "/mislabelled": Reply(body=PIC, headers={"Content-Type": "text/html"}),
    "/gzip": Reply(body=gzip.compress(PIC), headers=GZIP),
    "/deflate": Reply(body=zlib.compress(PIC), headers={"Content-Encoding": "Deflate"}),
    "/chunked": chunked(PIC[:100], PIC[100:]),
    "/until_closed": Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + PIC),
    "/not_kept": Reply(body=PIC, headers={"Connection": "close"}, close=True),
    "/told_less": Reply(body=PIC + b"more", told=len(PIC), close=True),
    "/told_less_and_closes": Reply(body=PIC + bytes(4096), told=len(PIC), headers={"Connection": "close"}, close=True),
    "/told_less_later": Reply(body=PIC + bytes(4096), told=len(PIC), pieces=3),
    "/moved": Reply(301, headers={"Location": "plain"}),
    "/moved5": Reply(302, headers={"Location": "/moved4"}),
    **{f"/moved{number}": Reply(303, headers={"Location": f"/moved{number - 1}"}) for number in (4, 3, 2)},
    "/moved1": Reply(308, headers={"Location": "/plain"}),
}

BAD = {
    "/404": (Reply(404), "failed_to_download", "http_404"),
    "/410": (Reply(410), "failed_to_download", "http_410"),
    "/429": (Reply(429), "failed_to_download", "http_429"),
    "/503": (Reply(503), "failed_to_download", "http_503"),
    "/nowhere": (Reply(302), "failed_to_download", "http_302"),
    "/304": (Reply(raw=b"HTTP/1.1 304 Not Modified\r\n\r\n"), "failed_to_download", "http_304"),
    "/moved6": (Reply(302, headers={"Location": "/moved5"}), "failed_to_download", "redirects: more than 5"),
    "/loop": (Reply(302, headers={"Location": "/loop"}), "failed_to_download", "redirects: more than 5"),
    "/ftp": (Reply(302, headers={"Location": "ftp://a.test/"}), "refused", "bad_redirect"),
    "/brackets": (Reply(302, headers={"Location": "http://[a/"}), "refused", "bad_redirect"),
    "/closed": (Reply(raw=b""), "failed_to_download", "connect"),
    "/no_http": (Reply(raw=b"220 welcome to the mail server\r\n\r\n"), "failed_to_download", "connect: the answer is no HTTP"),
    "/truncated": (Reply(body=PIC[:100], told=len(PIC), close=True), "failed_to_download", "truncated"),
    "/truncated_chunks": (chunked(PIC[:100], end=b""), "failed_to_download", "truncated"),
    "/truncated_gzip": (Reply(body=gzip.compress(PIC)[:-20], headers=GZIP), "failed_to_download", "truncated"),
    "/no_gzip": (Reply(body=PIC, headers=GZIP), "failed_to_download", "truncated: bad gzip"),
    "/stalled": (Reply(body=PIC, told=9999, hang=True), "failed_to_download", "timeout"),
    "/silent": (Reply(delay=60), "failed_to_download", "timeout"),
    "/told_more": (Reply(told=10**12, close=True), "failed_to_download", TOO_LARGE),
    "/sent_more": (Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + PIC + bytes(1_500_000)), "failed_to_download", TOO_LARGE),
    "/bomb": (Reply(body=gzip.compress(PIC + bytes(30_000_000)), headers=GZIP), "failed_to_download", TOO_LARGE),
    "/html": (Reply(body=b"<html>", headers={"Content-Type": "image/jpeg"}), "failed_to_download", "not_image"),
    "/empty": (Reply(), "failed_to_download", "not_image"),
    "/204": (Reply(raw=b"HTTP/1.1 204 No Content\r\n\r\n"), "failed_to_download", "not_image"),
    "/huge": (Reply(body=PNG_200_MEGAPIXELS), "failed_to_resize", "pixels: 20000 x 10000"),
}  # fmt: skip


def test_each_answer_gives_its_words(pool):
    with Server({**GOOD, **{path: reply for path, (reply, _, _) in BAD.items()}}) as server:
        rows = fetch(pool, [server.url(path) for path in (*GOOD, *BAD)], max_bytes=1_000_000, image_timeout_s=1.5, connections_per_host=64)
        found = [(row["url"].rpartition("/")[2], row["status"], row["error_message"]) for row in rows]
        assert found[: len(GOOD)] == [(path[1:], "success", None) for path in GOOD]
        assert found[len(GOOD) :] == [(path[1:], status, message) for path, (_, status, message) in BAD.items()]
        for row in rows[: len(GOOD)]:
            assert image_of(pool, row) == PIC
            assert row["sha256"] == hashlib.sha256(PIC).hexdigest()
            assert (row["format"], row["width"], row["height"], row["original_width"]) == ("jpeg", 32, 32, 32)
        assert rows[list(GOOD).index("/moved5")]["final_url"] == server.url("/plain")
        assert {path: server.count(path) for path in ("/bomb", "/told_more", "/sent_more", "/html", "/404", "/moved6")} == dict.fromkeys(
            ("/bomb", "/told_more", "/sent_more", "/html", "/404", "/moved6"), 1
        )
        for row in rows[len(GOOD) :]:
            assert row["sha256"] is None and row["offset"] is None


def test_hosts_that_cannot_be_reached(pool):
    with Server({}) as server:
        port = server.port  # nobody listens there any more when it is asked
    rows = fetch(pool, [f"http://127.0.0.1:{port}/a", "http://" + "a" * 64 + ".test/", "http://u:p@a.test/"])
    assert [(row["status"], row["error_message"]) for row in rows] == [
        ("failed_to_download", "connect"),
        ("failed_to_download", "dns"),
        ("invalid", "bad_url"),
    ]


def test_resized_images_are_converted_and_keep_their_exif(pool):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.new("RGB", (64, 32), (200, 10, 10)).save(file, "jpeg", exif=exif)
    png = io.BytesIO()
    Image.new("RGB", (64, 32)).save(png, "png")
    broken = png.getvalue().replace(b"IDAT", b"IDAT" + bytes(4))
    with Server({"/a": Reply(body=file.getvalue()), "/broken": Reply(body=broken)}) as server:
        target = Target(resize="keep_ratio_largest", size=16)
        row, cut = fetch(pool, [server.url("/a"), server.url("/broken")], store="resized", target=target)
        assert (row["width"], row["height"], row["original_width"], row["original_height"]) == (8, 16, 64, 32)
        assert row["exif"] == '{"Make": "Maker", "Orientation": "6"}'
        assert row["sha256"] == hashlib.sha256(file.getvalue()).hexdigest()
        with Image.open(io.BytesIO(image_of(pool, row))) as image:
            assert (image.format, image.size) == ("JPEG", (8, 16))
        assert (cut["status"], cut["error_message"], cut["offset"]) == ("failed_to_resize", "undecodable", None)


def test_uids_are_of_url_and_caption(pool):
    with Server({"/a": Reply(body=PIC)}) as server:
        found, missing = fetch(pool, [server.url("/a"), server.url("/b")])
        assert found["uid"] == uid_of(url=server.url("/a"), sha256=None, caption="picture 0")
        assert missing["uid"] == uid_of(url=server.url("/b"), sha256=None, caption="picture 1")


@pytest.mark.parametrize(
    "wrong",
    [{"store": "both"}, {"store": "resized"}, {"target": Target(size=8)}, {"connections": 0}, {"retries": -1}, {"image_timeout_s": 0}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        FetchSettings(**wrong)


def test_settings_are_json_and_identity_is_of_bytes_only():
    assert FetchSettings(connections=9, user_agent="x", host_map="m").identity() == FetchSettings().identity()
    assert FetchSettings(max_bytes=9).identity() != FetchSettings().identity()
    assert FetchSettings(store="resized", target=Target(size=9)).as_dict()["target"]["size"] == 9
