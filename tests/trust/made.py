"""Makers of images that carry evidence: files with metadata in the places where real tools put it, and files with a C2PA manifest."""

import datetime
import io
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image, PngImagePlugin

from quality.images.header import PNG_MAGIC, jpeg_segments, png_chunks

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MINING = "http://ns.useplus.org/ldf/vocab/"
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
}


# ---- files


def jpeg(
    image: Image.Image,
    *,
    exif: Image.Exif | None = None,
    xmp: bytes = b"",
    iim: bytes = b"",
    comment: str = "",
    quality: int = 92,
    full_colour: bool = False,
) -> bytes:
    """A JPEG. iim: Photoshop resource blocks (:func:`photoshop`). full_colour: no subsampling of colours, as the FLUX scripts save."""
    options: dict[str, Any] = {"subsampling": 0 if full_colour else 2} | ({"exif": exif.tobytes()} if exif is not None else {})
    if xmp:
        options["xmp"] = xmp
    if comment:
        options["comment"] = comment.encode()
    if iim:
        payload = b"Photoshop 3.0\0" + iim
        options["extra"] = b"\xff\xed" + (len(payload) + 2).to_bytes(2, "big") + payload
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality, **options)
    return out.getvalue()


def png(image: Image.Image, *, texts: Mapping[str, str] | None = None, exif: Image.Exif | None = None, xmp: bytes = b"") -> bytes:
    """A PNG. texts: by keyword; those that Latin-1 cannot hold become iTXt, as Pillow does for all tools that are written in Python."""
    info = PngImagePlugin.PngInfo()
    for keyword, text in (texts or {}).items():
        info.add_text(keyword, text)
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info, **({} if exif is None else {"exif": exif.tobytes()}))
    return out.getvalue()


def webp(image: Image.Image, *, exif: Image.Exif | None = None, xmp: bytes = b"", lossless: bool = False) -> bytes:
    """A WebP."""
    options = {} if exif is None else {"exif": exif.tobytes()}
    out = io.BytesIO()
    image.save(out, "WEBP", quality=90, lossless=lossless, **options, **({"xmp": xmp} if xmp else {}))
    return out.getvalue()


# ---- metadata


def exif(tags: Mapping[int, Any] | None = None, photo: Mapping[int, Any] | None = None, gps: Mapping[int, Any] | None = None) -> Image.Exif:
    """EXIF from tags of the image, of the photograph (the Exif IFD) and of the position."""
    made = Image.Exif()
    made.update(tags or {})
    for place, values in ((EXIF_IFD, photo), (GPS_IFD, gps)):
        if values:
            made.get_ifd(place).update(values)
    return made


def user_comment(text: str) -> bytes:
    """An EXIF UserComment as piexif's helper writes it, which A1111's webui uses: UTF-16, big-endian."""
    return b"UNICODE\0" + text.encode("utf-16-be")


def xmp(
    *, attributes: Mapping[str, str] | None = None, elements: Mapping[str, str] | None = None, described: str = "", more: str = ""
) -> bytes:
    """An XMP packet. attributes, elements: simple properties, in the two forms in use. described: dc:description. more: ready RDF."""
    spaces = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in NAMESPACES.items())
    listed = "".join(f' {name}="{escape(value)}"' for name, value in (attributes or {}).items())
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in (elements or {}).items())
    if described:
        inner += f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(described)}</rdf:li></rdf:Alt></dc:description>'
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about=""{spaces}{listed}>{inner}{more}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def history(*agents: str) -> str:
    """xmpMM:History: one saving by each agent; for `more` of :func:`xmp`."""
    items = "".join(f'<rdf:li stEvt:action="saved" stEvt:softwareAgent="{escape(agent)}"/>' for agent in agents)
    return f"<xmpMM:History><rdf:Seq>{items}</rdf:Seq></xmpMM:History>"


def photoshop(records: Sequence[tuple[int, int, str]]) -> bytes:
    """Photoshop's resource block of IPTC: IIM data sets (record, number, text), UTF-8."""
    data = b"\x1c\x01\x5a\x00\x03\x1b%G"  # 1:90, coded character set: UTF-8
    for record, number, text in records:
        value = text.encode()
        data += bytes((0x1C, record, number)) + len(value).to_bytes(2, "big") + value
    return b"8BIM\x04\x04\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)


# ---- C2PA


@cache
def chain(name: str = "Test", *, days: tuple[float, float] = (-1, 365)) -> tuple[str, str, str]:
    """(PEM of the signer's certificate, of its key (PKCS 8), of the root), made once a process; the root is no public one.

    days: from when and until when the signer's certificate holds, from now. c2pa does not sign with one that has run out: :func:`lapsed`.
    """
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Pigment Tests"), x509.NameAttribute(NameOID.COMMON_NAME, part)])
             for part in (f"{name} Root", f"{name} Signer")]  # fmt: skip
    now = datetime.datetime.now(datetime.UTC)
    made = []
    for key, subject, ca in ((keys[0], names[0], True), (keys[1], names[1], False)):
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        first, last = (-400, 400) if ca else days
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(names[0]).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=first)).not_valid_after(now + datetime.timedelta(days=last))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True).add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )  # fmt: skip
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
    key = keys[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return made[1], key, made[0]


def signed(
    data: bytes,
    mime: str,
    *,
    source_type: str | None = "trainedAlgorithmicMedia",
    action: str = "c2pa.created",
    agent: str | None = None,
    tool: str = "Pigment Test Maker",
    assertions: tuple[dict, ...] = (),
    ingredients: Sequence[tuple[str, bytes]] = (),
    by: tuple[str, str, str] | None = None,
) -> bytes:
    """`data` with a C2PA manifest. mime: image/jpeg, image/png or image/webp.

    action, source_type, agent: of its first action. tool: the claim generator. ingredients: (relationship, bytes of the same type), a
    parent opened by the first action, a component placed by a second one. by: the signer, one of :func:`chain`.
    """
    certificate, key, _ = by or chain()
    one: dict[str, Any] = {"action": action}
    if source_type is not None:
        one["digitalSourceType"] = SOURCE_TYPES + source_type
    if agent is not None:
        one["softwareAgent"] = {"name": agent}
    actions = [one]
    for number, (relationship, _) in enumerate(ingredients):
        used = {"ingredientIds": [f"ingredient-{number}"]}
        if relationship == "parentOf":
            one["parameters"] = used
        else:
            actions.append({"action": "c2pa.placed", "parameters": used})
    manifest = {
        "claim_generator_info": [{"name": tool, "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}, *assertions],
    }
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, certificate.encode(), key.encode(), None))
    verify = {"ocsp_fetch": False, "remote_manifest_fetch": False, "verify_after_sign": False}
    settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}, "verify": verify})
    out = io.BytesIO()
    with c2pa.Context(settings) as context, c2pa.Builder(json.dumps(manifest), context=context) as builder, signer:
        for number, (relationship, part) in enumerate(ingredients):
            about = {"title": f"part {number}", "relationship": relationship, "instance_id": f"ingredient-{number}"}
            builder.add_ingredient(json.dumps(about), mime, io.BytesIO(part))
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()


@cache
def lapsed(data: bytes, mime: str) -> bytes:
    """`data` signed with a certificate that has run out since: it held for two seconds."""
    made = signed(data, mime, source_type="digitalCapture", by=chain(f"Lapsed {zlib.crc32(data)}", days=(-1, 2 / 86_400)))
    time.sleep(3)
    return made


def mining(label: str, **uses: str) -> dict:
    """A C2PA assertion about mining. label: c2pa.training-mining or cawg.training-mining. uses: by entry, without its prefix."""
    prefix = label.partition(".")[0]
    return {"label": label, "data": {"entries": {f"{prefix}.{entry}": {"use": use} for entry, use in uses.items()}}}


def moved(data: bytes, other: bytes) -> bytes:
    """The manifest store of a signed JPEG or PNG in another file of its kind, as of an editor that keeps what it does not know."""
    if data.startswith(PNG_MAGIC):
        store = b"".join(data[start:end] for kind, start, end in png_chunks(data) if kind == b"caBX")
        return other[:33] + store + other[33:]
    store = b"".join(data[start:end] for marker, start, end in jpeg_segments(data) if marker == 0xEB)
    return other[:2] + store + other[2:]


def broken(data: bytes) -> bytes:
    """A signed file whose manifest store cannot be read: its outermost box says that it is of another kind."""
    return data.replace(b"jumb", b"bmuj", 1)
