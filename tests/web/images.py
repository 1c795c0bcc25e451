"""Odd images made from ordinary ones, and files that are no image: what crawlers meet in the wild."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath

from PIL import Image

SIDE = 256  # pixels; odd images need not be large, and their making is paid at every start
QUARTERS = {"top left": (200, 30, 30), "top right": (30, 160, 30), "bottom left": (30, 30, 200), "bottom right": (245, 245, 245)}
CARD_SIZE = (320, 240)  # width and height of the card when it is upright

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112  # EXIF tag
_SUFFIX = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp"}


@dataclass(frozen=True)
class Picture:
    """Bytes with the name and the media type under which a web site would serve them."""

    name: str
    data: bytes
    media_type: str

    def remade(self, data: bytes, media_type: str) -> "Picture":
        """The same name with the suffix of the new type."""
        suffix = _SUFFIX.get(media_type, "." + media_type.rpartition("/")[2])
        return replace(self, name=str(PurePosixPath(self.name).with_suffix(suffix)), data=data, media_type=media_type)

    def mislabelled(self) -> str:
        """A media type that these bytes do not have."""
        return "image/png" if self.media_type == "image/jpeg" else "image/jpeg"


def grey_jpeg(picture: Picture) -> Picture:
    return _saved(picture, _opaque(picture).convert("L"), "JPEG")


def progressive_jpeg(picture: Picture) -> Picture:
    return _saved(picture, _opaque(picture), "JPEG", progressive=True)


def cmyk_jpeg(picture: Picture) -> Picture:
    """Four inverted channels under an Adobe marker, as print software writes them."""
    return _saved(picture, _opaque(picture).convert("CMYK"), "JPEG")


def grey16_png(picture: Picture) -> Picture:
    return _png16(picture, _opaque(picture).convert("L"))


def rgb16_png(picture: Picture) -> Picture:
    return _png16(picture, _opaque(picture))


def palette_png(picture: Picture) -> Picture:
    """At most 255 colours and one more that is transparent, in the top left corner."""
    image = _opaque(picture).quantize(255)
    colours = image.getpalette() or []
    clear = len(colours) // 3
    image.putpalette([*colours, 0, 0, 0])
    image.paste(clear, (0, 0, 8, 8))
    return _saved(picture, image, "PNG", transparency=clear)


def animated_gif(picture: Picture) -> Picture:
    return _animated(picture, "GIF")


def animated_webp(picture: Picture) -> Picture:
    return _animated(picture, "WEBP")


def dot_gif(picture: Picture) -> Picture:
    """The one-pixel image of trackers and spacers."""
    return _saved(picture, Image.new("P", (1, 1)), "GIF")


def tiny_png(picture: Picture) -> Picture:
    return _saved(picture, _opaque(picture).resize((2, 2)), "PNG")


def card() -> Image.Image:
    """The upright card: four quarters in the colours of QUARTERS."""
    width, height = CARD_SIZE
    image = Image.new("RGB", CARD_SIZE)
    for place, colour in QUARTERS.items():
        left, top = width // 2 * place.endswith("right"), height // 2 * place.startswith("bottom")
        image.paste(colour, (left, top, left + width // 2, top + height // 2))
    return image


def card_orientation_6(picture: Picture) -> Picture:
    """The card as a camera on its right side stores it: the viewer must turn it 90 degrees clockwise."""
    return _turned(picture, Image.Transpose.ROTATE_90, 6)


def card_orientation_8(picture: Picture) -> Picture:
    """The viewer must turn it 90 degrees counter-clockwise."""
    return _turned(picture, Image.Transpose.ROTATE_270, 8)


@cache
def _placeholder() -> bytes:
    image = Image.new("RGB", (240, 180), (225, 225, 225))
    for corner in range(0, 240, 12):
        image.paste((190, 190, 190), (corner, corner * 3 // 4, corner + 6, corner * 3 // 4 + 6))
    return _bytes(image, "PNG")


def placeholder(picture: Picture) -> Picture:
    """The one picture that a site sends for every image it has lost."""
    return picture.remade(_placeholder(), "image/png")


def cut_jpeg(picture: Picture) -> Picture:
    """A JPEG that was cut at 60 % before it was put on the server."""
    return _cut(_saved(picture, _opaque(picture), "JPEG"))


def cut_png(picture: Picture) -> Picture:
    return _cut(_saved(picture, _opaque(picture), "PNG"))


def corrupt_png(picture: Picture) -> Picture:
    """A good header, then pixels that do not inflate."""
    return picture.remade(_png(SIDE, SIDE, b"\xff" * 64), "image/png")


def huge_png(picture: Picture) -> Picture:
    """The header of 200 megapixels over a few bytes. A decoder would take 600 MB for it."""
    return picture.remade(_png(20_000, 10_000, zlib.compress(bytes(60_001))), "image/png")


def huge_jpeg(picture: Picture) -> Picture:
    """A small JPEG whose frame header says 20,000 x 10,000."""
    data = bytearray(_saved(picture, _opaque(picture), "JPEG").data)
    frame = data.index(b"\xff\xc0")  # start of frame: marker, length (2), precision (1), height (2), width (2)
    data[frame + 5 : frame + 9] = struct.pack(">HH", 10_000, 20_000)
    return picture.remade(bytes(data), "image/jpeg")


def html(picture: Picture) -> Picture:
    """The page that a site sends in place of an image it has lost."""
    page = f"<!DOCTYPE html>\n<html><head><title>Not here</title></head><body><p>{picture.name} has moved.</p></body></html>\n"
    return picture.remade(page.encode(), "text/html")


def empty(picture: Picture) -> Picture:
    return replace(picture, data=b"")


def svg(picture: Picture) -> Picture:
    drawing = (
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><circle cx="32" cy="32" r="30"/></svg>\n'
    )
    return picture.remade(drawing.encode(), "image/svg+xml")


def zipped(picture: Picture) -> Picture:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(picture.name), picture.data)  # ZipInfo's own date: 1980, no clock
    return picture.remade(buffer.getvalue(), "application/zip")


def pdf(picture: Picture) -> Picture:
    return picture.remade(b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n", "application/pdf")


def _opaque(picture: Picture) -> Image.Image:
    """The picture as RGB on white, at most SIDE pixels a side."""
    image = Image.open(io.BytesIO(picture.data)).convert("RGBA")
    image.thumbnail((SIDE, SIDE))
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _bytes(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _saved(picture: Picture, image: Image.Image, form: str, **options: object) -> Picture:
    return picture.remade(_bytes(image, form, **options), Image.MIME[form])


def _animated(picture: Picture, form: str) -> Picture:
    first = _opaque(picture)
    frames = [first.rotate(angle, fillcolor="white") for angle in (10, 20)]
    return _saved(picture, first, form, save_all=True, append_images=frames, duration=80, loop=0)


def _turned(picture: Picture, turn: Image.Transpose, orientation: int) -> Picture:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return _saved(picture, card().transpose(turn), "JPEG", exif=exif, quality=92)


def _cut(picture: Picture) -> Picture:
    return replace(picture, data=picture.data[: len(picture.data) * 6 // 10])


def _png16(picture: Picture, image: Image.Image) -> Picture:
    """A PNG of 16 bits a channel, which Pillow writes for grey only: every byte twice is the value times 257."""
    line = image.width * len(image.getbands())
    twice = bytearray(2 * line * image.height)
    twice[0::2] = twice[1::2] = image.tobytes()
    filtered = b"".join(b"\0" + twice[start : start + 2 * line] for start in range(0, len(twice), 2 * line))
    return picture.remade(_png(*image.size, zlib.compress(filtered), bits=16, colour=2 if image.mode == "RGB" else 0), "image/png")


def _png(width: int, height: int, pixels: bytes, *, bits: int = 8, colour: int = 2) -> bytes:
    """pixels: the compressed, filtered lines. colour: 0 is grey, 2 is RGB."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
