"""Servers that mean harm: one table of what they send, and of what a careful client notes of each.

Every row has a host of its own (`<name>.hostile.test`, by host_map), so that what one does to a client's view of its host touches no other.
The expected words hold for the limits below, and where images are converted as they come (`--store resized`), so that their bombs go off.
"""

import gzip
import zlib
from dataclasses import dataclass
from typing import Final

from tests.web import hostile_images as images
from tests.web.hostile_images import OTHER, OWN
from tests.web.hostile_server import Serve, by_path, endless, moves_on, once, raw, resets, resets_after, slowly

MAX_BYTES: Final = 1_000_000
MAX_PIXELS: Final = 4_000_000
REDIRECTS: Final = 5

NO_HTTP: Final = "connect: the answer is no HTTP"
TOO_LARGE: Final = f"too_large: more than {MAX_BYTES:,} bytes"
FLOOD: Final = f"too_large: more than {2 * MAX_BYTES:,} bytes with what frames them"
TOO_FAR: Final = f"redirects: more than {REDIRECTS}"


@dataclass(frozen=True)
class Hostile:
    """One behaviour.

    sends: for people. error, status: what the row says in the end. side: pixels of the image that is stored, None where none is. slow: a
    client leaves only when the image's time is up.
    """

    name: str
    sends: str
    serve: Serve
    error: str | None = None
    status: str = "failed_to_download"
    side: int | None = None
    slow: bool = False
    robots: Serve | None = None  # what stands at /robots.txt, which is read before a redirect is followed; 404 where it is None

    @property
    def host(self) -> str:
        return f"{self.name.replace('_', '-')}.hostile.test"

    @property
    def url(self) -> str:
        return f"http://{self.host}/"


def head(*fields: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *fields, "")).encode("latin-1")


def whole(body: bytes = OWN, *fields: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *fields, status=status) + body


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


CHUNKED: Final = head("Transfer-Encoding: chunked")
LAST: Final = b"0\r\n\r\n"
GZIP: Final = "Content-Encoding: gzip"
OWN_AGAIN: Final = raw(whole(), keep=True)


def _no_http(name: str, sends: str, serve: Serve, *, slow: bool = False) -> Hostile:
    return Hostile(name, sends, serve, NO_HTTP, slow=slow)


def _stored(name: str, sends: str, serve: Serve, *, side: int = 24) -> Hostile:
    return Hostile(name, sends, serve, status="success", side=side)


def _failed(name: str, sends: str, error: str, serve: Serve, *, slow: bool = False) -> Hostile:
    return Hostile(name, sends, serve, error, slow=slow)


def _late(name: str, sends: str, serve: Serve) -> Hostile:
    return Hostile(name, sends, serve, "timeout", slow=True)


def _to(name: str, location: str | bytes, error: str = "bad_redirect", status: str = "refused") -> Hostile:
    """A redirect. Whatever is asked for at the same host afterwards would get an image."""
    written = location if isinstance(location, bytes) else location.encode()
    moved = raw(b"HTTP/1.1 302 Found\r\nLocation: " + written + b"\r\nContent-Length: 0\r\n\r\n", keep=True)
    told = written[:60].decode("latin-1") + ("…" if len(written) > 60 else "")
    return Hostile(name, f"302 to {told}", moved, error, status)


def _image(name: str, sends: str, data: bytes, error: str | None, status: str = "failed_to_resize", *, side: int = 24) -> Hostile:
    return Hostile(name, sends, raw(whole(data)), error, status, side if status == "success" else None)


STATUS_LINES: Final = (
    _no_http("status_word", "a status line whose code is a word", raw(b"HTTP/1.1 abc OK\r\n\r\n")),
    _no_http("status_negative", "a negative status code", raw(b"HTTP/1.1 -20 OK\r\n\r\n")),
    _no_http("status_four_digits", "status 2000", raw(b"HTTP/1.1 2000 OK\r\n\r\n" + OWN)),
    _failed("status_999", "status 999", "http_999", raw(whole(status="999 No"))),
    _no_http("status_no_version", "a status line without a version", raw(b"200 OK\r\n\r\n" + OWN)),
    _no_http("status_wrong_version", "HTTP/9.9", raw(b"HTTP/9.9 200 OK\r\n\r\n" + OWN)),
    _no_http("status_giant", "a reason of 1 MB", raw(b"HTTP/1.1 200 " + b"O" * 1_000_000 + b"\r\n\r\n")),
    _no_http("status_endless", "a reason that never ends", endless(b"HTTP/1.1 200 ", b"O")),
    _no_http("http_09", "the image without any head", raw(OWN)),
    _no_http("http_2", "the settings frame of HTTP/2", raw(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))),
    _no_http("tls_alert", "an alert of TLS", raw(bytes([0x15, 3, 1, 0, 2, 2, 0x28]))),
    _no_http("mail_server", "the greeting of a mail server", raw(b"220 mail.test ESMTP\r\n")),
    _no_http("zeros", "zeros without end", endless(b"", bytes(1024))),
)

HEADERS: Final = (
    _no_http("header_giant", "a header field of 1 MB", raw(head("X: " + "y" * 1_000_000)[:-2] + b"Content-Length: 0\r\n\r\n")),
    _no_http("header_endless", "a header field that never ends", endless(b"HTTP/1.1 200 OK\r\nX: ", b"y")),
    _no_http("header_flood", "20,000 header fields", raw(head(*(f"X-{number}: y" for number in range(20_000))))),
    _no_http("headers_endless", "header fields without end", endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")),
    _no_http("header_nul", "a header field with a NUL", raw(head("X: a\0b", "Content-Length: 0"))),
    _no_http("header_cr", "a header field with a bare CR", raw(head("X: a\rContent-Length: 9", "Content-Length: 0"))),
    _stored("header_name_space", "a space before the colon of Content-Length", raw(head(f"Content-Length : {len(OWN)}") + OWN)),
    _no_http("header_no_colon", "a header line without colon", raw(head("Content-Length 99", "X y") + OWN)),
    _stored("header_bare_lf", "lines that end in LF alone", raw(whole().replace(b"\r\n", b"\n", 3))),
    _failed("header_bare_lf_endless", "lines that end in LF alone, and zeros", TOO_LARGE, endless(b"HTTP/1.1 200 OK\n\n", bytes(1024))),
    _stored("header_folded", "a header field over two lines", raw(whole(OWN, "X: a\r\n b"))),
    _late("header_slow", "the head, byte by byte", slowly(b"", whole(OWN, "X: " + "y" * 1000))),
    _late("header_never", "nothing at all", raw(b"", b"", pause=99)),
    _stored("interim", "100 and 103 before the answer", raw(head(status="100 Continue") + head("Link: <a>", status="103 Early Hints") + whole())),
    _no_http("interim_endless", "100 without end", endless(b"", head(status="100 Continue"))),
    _failed("upgrade", "101, and bytes without end", "http_101", endless(head("Upgrade: x", "Connection: upgrade", status="101 S"), b"x")),
    Hostile("split", "a redirect with a second answer in it", by_path(raw(
        head("Location: /next\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK", f"Content-Length: {len(OTHER)}", status="302 Found") + OTHER, keep=True,
    ), next=OWN_AGAIN), status="success", side=24),
)  # fmt: skip

LENGTHS: Final = (
    Hostile("length_short", "a length that ends within the image", raw(head(f"Content-Length: {len(OWN) - 9}") + OWN), "undecodable",
            "failed_to_resize"),
    _failed("length_long", "a length beyond the end", "truncated", raw(head(f"Content-Length: {len(OWN) + 9}") + OWN)),
    _late("length_long_open", "a length beyond the end, and an open connection", raw(head(f"Content-Length: {len(OWN) + 9}") + OWN, b"", pause=99)),
    _failed("length_terabyte", "a length of a terabyte", TOO_LARGE, raw(head(f"Content-Length: {10**12}") + OWN)),
    _no_http("length_negative", "a negative length", raw(head("Content-Length: -1") + OWN)),
    _no_http("length_signed", "a length with a plus", raw(head(f"Content-Length: +{len(OWN)}") + OWN)),
    _no_http("length_hex", "a length in hexadecimal", raw(head(f"Content-Length: {len(OWN):#x}") + OWN)),
    _no_http("length_two", "two lengths that differ", raw(head(f"Content-Length: {len(OWN)}", "Content-Length: 9") + OWN)),
    _no_http("length_list", "a list of two lengths", raw(head(f"Content-Length: {len(OWN)}, 9") + OWN)),
    _no_http("length_overflow", "a length of 2^64 and a little", raw(head(f"Content-Length: {2**64 + len(OWN)}") + OWN)),
    _no_http("length_5000_digits", "a length of 5,000 digits", raw(head("Content-Length: " + "9" * 5000) + OWN)),
    _no_http("length_and_chunks", "a length and chunks", raw(head("Content-Length: 5", "Transfer-Encoding: chunked") + chunk(OWN) + LAST)),
    _stored("data_after_end", "the image, and 4 KB beyond its length", raw(whole() + bytes(4096))),
    _no_http("no_content", "204 with an image", raw(whole(status="204 No Content"))),
    _no_http("not_modified", "304 with an image", raw(whole(status="304 Not Modified"))),
    _failed("partial", "206 that nobody asked for", "http_206", raw(whole(OWN, f"Content-Range: bytes 9-{len(OWN) + 8}/999999", status="206 P"))),
    _failed("body_endless", "the image and zeros without end", TOO_LARGE, endless(head() + OWN, bytes(1024))),
    _late("body_slow", "the body, byte by byte", slowly(head(f"Content-Length: {len(OWN)}"), OWN)),
)  # fmt: skip

CHUNKS: Final = (
    _no_http("chunk_overflow", "a chunk of 2^68 bytes", raw(CHUNKED + chunk(OWN) + b"fffffffffffffffff\r\n" + OWN)),
    _no_http("chunk_negative", "a chunk of -1 bytes", raw(CHUNKED + chunk(OWN) + b"-1\r\n" + OWN)),
    _no_http("chunk_no_number", "a chunk whose size is a word", raw(CHUNKED + chunk(OWN) + b"xyz\r\n" + OWN)),
    _no_http("chunk_lies", "a chunk that is longer than it says", raw(CHUNKED + chunk(OWN) + b"%x\r\n" % (len(OWN) - 9) + OWN + b"\r\n" + LAST)),
    _failed("chunk_extension", "a chunk extension without end", FLOOD, endless(CHUNKED + b"5;", b"x")),
    _failed("chunk_extensions", "one byte in each chunk, and 4 KB of extension", FLOOD, endless(CHUNKED, chunk(b"x", b";y=" + b"z" * 4096))),
    _failed("chunks_endless", "one byte in each chunk, without end", FLOOD, endless(CHUNKED, chunk(b"x"))),
    _no_http("trailer_flood", "20,000 trailers", raw(CHUNKED + chunk(OWN) + LAST[:-2] + b"X: y\r\n" * 20_000)),
    _no_http("trailer_giant", "a trailer of 1 MB", raw(CHUNKED + chunk(OWN) + LAST[:-2] + b"X: " + b"y" * 1_000_000)),
    _stored("coding_twice", "chunked twice", raw(head("Transfer-Encoding: chunked, chunked") + chunk(OWN) + LAST)),
    _stored("coding_unknown", "a transfer coding that is not known", raw(head("Transfer-Encoding: xchunked") + OWN)),
)  # fmt: skip

ENCODINGS: Final = (
    _failed("gzip_bomb", "gzip that inflates to 400 MB", TOO_LARGE, raw(whole(gzip.compress(OWN + bytes(400 << 20), 6), GZIP))),
    _failed("deflate_bomb", "deflate that inflates to 400 MB", TOO_LARGE, raw(whole(images.deflated(400 << 20), "Content-Encoding: deflate"))),
    _failed("gzip_nested", "gzip within gzip", "not_image", raw(whole(gzip.compress(gzip.compress(OWN)), "Content-Encoding: gzip, gzip"))),
    _failed("gzip_twice", "gzip within gzip, told once", "not_image", raw(whole(gzip.compress(gzip.compress(OWN)), GZIP))),
    _failed("gzip_empty_blocks", "gzip of empty blocks without end", TOO_LARGE,
            endless(head(GZIP) + gzip.compress(b"")[:10], b"\0\0\0\xff\xff")),
    _failed("gzip_name_endless", "gzip with a file name that never ends", TOO_LARGE, endless(head(GZIP) + b"\x1f\x8b\x08\x08" + bytes(6), b"x")),
    _stored("gzip_and_more", "gzip, and zeros behind it without end", endless(head(GZIP) + gzip.compress(OWN), bytes(1024))),
    _failed("gzip_lies", "an image under gzip", "truncated: bad gzip", raw(whole(OWN, GZIP))),
    _failed("brotli", "brotli, which nobody asked for", "not_image", raw(whole(b"\x1b" + bytes(999), "Content-Encoding: br"))),
    _failed("zstandard", "zstd, which nobody asked for", "not_image", raw(whole(b"\x28\xb5\x2f\xfd" + bytes(99), "Content-Encoding: zstd"))),
    _failed("deflate_raw", "deflate without its zlib frame", "truncated: bad deflate",
            raw(whole(zlib.compress(OWN)[2:-4], "Content-Encoding: deflate"))),
)  # fmt: skip

# A redirect or a 503 makes the client ask again on the same connection; what it then gets must be what was sent for that request.
MOVED: Final = ("Location: /next",)
BUSY: Final = ("Retry-After: 1",)
BUSY_IN_CHUNKS: Final = head(*BUSY, "Transfer-Encoding: chunked", status="503 B") + LAST
CONNECTIONS: Final = (
    _failed("closes", "closes without an answer", "connect", raw(b"")),
    _failed("resets", "resets without an answer", "connect", resets),
    _failed("resets_in_head", "resets within the head", "connect", resets_after(head()[:15])),
    _failed("resets_in_body", "resets within the body", "truncated", resets_after(whole()[:-50])),
    _stored("two_answers", "a redirect, and at once the answer to what was not asked yet",
            by_path(raw(whole(b"", *MOVED, status="302 F") + whole(OTHER), keep=True), next=OWN_AGAIN)),
    _stored("two_answers_chunked", "the same, the redirect in chunks",
            by_path(raw(head(*MOVED, "Transfer-Encoding: chunked", status="302 F") + LAST + whole(OTHER), keep=True), next=OWN_AGAIN)),
    _stored("late_answer", "503 with Retry-After, and another answer while nobody asks",
            once(raw(whole(b"", *BUSY, status="503 B"), whole(OTHER), pause=0.3, keep=True), OWN_AGAIN)),
    _stored("late_answer_chunked", "the same, the 503 in chunks", once(raw(BUSY_IN_CHUNKS, whole(OTHER), pause=0.3, keep=True), OWN_AGAIN)),
    _stored("late_half", "the same, and half of the other answer", once(raw(BUSY_IN_CHUNKS, whole(OTHER)[:30], pause=0.3, keep=True), OWN_AGAIN)),
)  # fmt: skip

_ASKS_ROBOTS: Final = by_path(raw(whole(b"", *MOVED, status="302 F"), keep=True), next=OWN_AGAIN)
ROBOTS: Final = (
    Hostile("robots_endless", "a robots.txt without end", _ASKS_ROBOTS, None, "success", 24, robots=endless(head(), b"# no\n")),
    Hostile("robots_bytes", "a robots.txt of a NUL and all other bytes", _ASKS_ROBOTS, None, "success", 24, robots=raw(whole(bytes(range(256))))),
    Hostile("robots_bomb", "a robots.txt of 400 MB in gzip", _ASKS_ROBOTS, None, "success", 24,
            robots=raw(whole(gzip.compress(bytes(400 << 20), 6), GZIP))),
    Hostile("robots_slow", "a robots.txt byte by byte", _ASKS_ROBOTS, "timeout: robots.txt", slow=True, robots=slowly(head(), bytes(999))),
    Hostile("robots_moves", "a robots.txt that redirects to a private address", _ASKS_ROBOTS, None, "success", 24,
            robots=raw(whole(b"", "Location: http://10.0.0.1/robots.txt", status="302 F"))),
)  # fmt: skip

REDIRECTIONS: Final = (
    Hostile("to_ever_new", "redirects without end, each elsewhere", moves_on, TOO_FAR),
    _to("to_itself", "/", TOO_FAR, "failed_to_download"),
    Hostile("to_nowhere", "302 without Location", raw(whole(b"", status="302 F")), "http_302"),
    _to("to_private", "http://10.0.0.1/", "private_address"),
    _to("to_loopback", "http://127.0.0.1/", "private_address"),
    _to("to_loopback_short", "http://127.1/", "private_address"),
    _to("to_loopback_decimal", "http://2130706433/", "private_address"),
    _to("to_loopback_octal", "http://0177.0.0.01/", "private_address"),
    _to("to_loopback_hex", "http://0x7f.0x0.0x0.0x1/", "private_address"),
    _to("to_loopback_wide", "http://１２７.０.０.１/", "private_address"),
    _to("to_loopback_dot", "http://127.0.0.1./", "private_address"),
    _to("to_unspecified", "http://0.0.0.0/", "private_address"),
    _to("to_broadcast", "http://255.255.255.255/", "private_address"),
    _to("to_metadata", "http://169.254.169.254/latest/meta-data/", "private_address"),
    _to("to_metadata_6", "http://[fd00:ec2::254]/", "private_address"),
    _to("to_wire_server", "http://168.63.129.16/", "private_address"),
    _to("to_loopback_6", "http://[::1]/", "private_address"),
    _to("to_mapped_6", "http://[::ffff:10.0.0.1]/", "private_address"),
    _to("to_compatible_6", "http://[::127.0.0.1]/", "private_address"),
    _to("to_nat64", "http://[64:ff9b::a9fe:a9fe]/", "private_address"),
    _to("to_6to4", "http://[2002:7f00:1::]/", "private_address"),
    _to("to_teredo", "http://[2001::7f00:1]/", "private_address"),
    _to("to_link_local_zone", "http://[fe80::1%25eth0]/"),
    _to("to_localhost", "http://localhost/", "private_address"),
    _to("to_file", "file:///etc/passwd"),
    _to("to_gopher", "gopher://10.0.0.1:70/x"),
    _to("to_data", "data:image/png;base64,AAAA"),
    _to("to_script", "javascript:alert(1)"),
    _to("to_user", "http://user:word@to-user.hostile.test/"),
    _to("to_port_0", "http://to-port-0.hostile.test:0/"),
    _to("to_port_99999", "http://to-port-99999.hostile.test:99999/"),
    _to("to_no_host", "http:///x", TOO_FAR, "failed_to_download"),
    _to("to_open_bracket", "http://[::1/"),
    _to("to_space_in_host", "http://to space.test/"),
    _to("to_long_label", f"http://{'a' * 300}.test/", "dns: robots.txt", "failed_to_download"),
    _to("to_long_name", f"http://{'a.' * 300}test/", "dns: robots.txt", "failed_to_download"),
    _to("to_bad_bytes", b"/\xff\xfe", TOO_FAR, "failed_to_download"),
    _to("to_bad_host_bytes", b"http://\xff\xfe.test/"),
    _to("to_giant", "/" + "x" * 20_000, NO_HTTP, "failed_to_download"),
    _to("to_tls", "https://to-tls.hostile.test/", "connect: robots.txt", "failed_to_download"),
    _stored("to_other_port", "302 to another port of the same name, as far as the host map goes",
            by_path(raw(whole(b"", "Location: http://to-other-port.hostile.test:22/next", status="302 F"), keep=True), next=OWN_AGAIN)),
)  # fmt: skip

NO_IMAGES: Final = (
    _image("svg", "a drawing in SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "not_image", "failed_to_download"),
    _image("svg_doctype", "an SVG with entities that grow", b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aa">]><svg>&a;</svg>', "not_image",
           "failed_to_download"),
    _image("html", "a page that says it is an image", b"<html><img src=x></html>", "not_image", "failed_to_download"),
    _image("image_after_html", "a page, and the image behind it", b"<html>" + OWN, "not_image", "failed_to_download"),
    _image("magic_alone", "the first bytes of a JPEG, and a page", b"\xff\xd8\xff<html></html>", "not_image", "failed_to_download"),
    _image("gif_and_script", "a GIF that is a script too", images.gif_and_script(), None, "success"),
    _image("jpeg_and_zip", "a JPEG with an archive behind it", OWN + b"PK\3\4" + bytes(200), None, "success"),
)  # fmt: skip

BOMBS: Final = (
    _image("png_header_bomb", "a PNG header of 4 gigapixels", images.png_header_bomb(), "pixels: 65000 x 65000"),
    _image("png_more_pixels", "a PNG of 24 x 24 whose pixels inflate to 400 MB", images.png_more_pixels(), None, "success"),
    _image("png_text_bomb", "a PNG with comments of 800 MB", images.png_text_bomb(), "undecodable"),
    _image("png_itxt_bomb", "a PNG with XMP of 400 MB", images.png_itxt_bomb(), "undecodable"),
    _image("png_profile_bomb", "a PNG with a colour profile of 400 MB", images.png_profile_bomb(), "undecodable"),
    _image("png_many_chunks", "a PNG of 60,000 chunks", images.png_many_chunks(), None, "success"),
    _image("png_long_chunk", "a PNG chunk of 4 GB", images.png_long_chunk(), "undecodable"),
    _image("jpeg_header_bomb", "a JPEG header of 4 gigapixels", images.jpeg_header_bomb(), "pixels: 65500 x 65500"),
    _image("jpeg_same_scan", "a progressive JPEG that sends one scan 1,500 times", images.jpeg_same_scan(1500, 1500), "undecodable"),
    _image("jpeg_many_scans", "a JPEG of 2,647 scans", images.jpeg_many_scans(2000, 2000), "work: 2647 scans of 2000 x 2000"),
    _image("jpeg_fill_bytes", "900,000 fill bytes in a JPEG", images.jpeg_fill_bytes(), None, "success"),
    _image("jpeg_profile_pieces", "a JPEG with a broken profile in 255 pieces", images.jpeg_profile_pieces(), None, "success"),
    _image("gif_screen_bomb", "a GIF screen of 4 gigapixels", images.gif_screen_bomb(), "pixels: 65535 x 65535"),
    _image("gif_frame_bomb", "a GIF frame of 4 gigapixels", images.gif_frame_bomb(), "pixels: 65535 x 65535"),
    _image("gif_later_frame_bomb", "a GIF whose later frames are bombs", images.gif_later_frame_bomb(), None, "success"),
    _image("webp_canvas_bomb", "a WebP canvas of 281 terapixels", images.webp_canvas_bomb(), "pixels: 16777216 x 16777216"),
    _image("webp_lying_canvas", "a WebP picture of 268 megapixels on a canvas of 24 x 24", images.webp_lying_canvas(), "undecodable"),
    _image("tiff_header_bomb", "a TIFF header of 4 gigapixels", images.tiff_header_bomb(), "pixels: 65000 x 65000"),
    _image("tiff_lying_strips", "a TIFF strip at 4 GB", images.tiff_lying_strips(), "undecodable"),
    _image("tiff_deflate_bomb", "a TIFF strip that inflates to 400 MB", images.tiff_deflate_bomb(), None, "success"),
    _image("tiff_directory_loop", "a TIFF directory that follows itself", images.tiff_directory_loop(), None, "success"),
    _image("bmp_header_bomb", "a BMP header of 4 gigapixels", images.bmp_header_bomb(), "pixels: 65000 x 65000"),
    _image("bmp_lowest_height", "a BMP of height -2^31", images.bmp_lowest_height(), "not_image", "failed_to_download"),
)  # fmt: skip

TABLE: Final = (
    *STATUS_LINES, *HEADERS, *LENGTHS, *CHUNKS, *ENCODINGS, *CONNECTIONS, *ROBOTS, *REDIRECTIONS, *NO_IMAGES, *BOMBS,
)  # fmt: skip


def hosts_of(table: tuple[Hostile, ...]) -> dict[str, Serve]:
    """What HostileServer takes."""
    robots = {f"{row.host}/robots.txt": row.robots for row in table if row.robots is not None}
    return {row.host: row.serve for row in table} | robots
