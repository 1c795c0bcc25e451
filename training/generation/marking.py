"""Pictures as PNG files that say what made them: XMP with IPTC's digital source type and AI fields, and the settings that make them again.

IPTC Photo Metadata Standard 2025.1; XMP in PNG as in ISO 16684-1 and Adobe's XMP specification, part 3, 1.1.5.
"""

import io
import re
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from PIL import Image, PngImagePlugin

SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED: Final = SOURCE_TYPES + "trainedAlgorithmicMedia"  # made by a model that was trained on sampled content
COMPOSITE: Final = SOURCE_TYPES + "compositeSynthetic"  # several elements, at least one of them generated: a contact sheet
OURS: Final = "urn:pigment:generation:1#"
_SPACES: Final = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "pigment": OURS,
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def xmp(
    *, system: str, version: str, prompt: str, program: str, source_type: str = TRAINED, settings: Mapping[str, object] | None = None
) -> str:
    """The packet. system, version: the model and the digest of its weights. prompt: what it was asked for, as a person would tell it.

    settings: further properties of our own name space, by name in camel case; those that are None are left out.
    """
    ai = {"AISystemUsed": system, "AISystemVersionUsed": version, "AIPromptInformation": prompt}
    properties = {
        "xmp:CreatorTool": program,
        "Iptc4xmpExt:DigitalSourceType": source_type,
        **{f"Iptc4xmpExt:{name}": value for name, value in ai.items()},
        **{f"pigment:{name}": value for name, value in (settings or {}).items() if value is not None},
    }
    spaces = "".join(f" xmlns:{prefix}={quoteattr(space)}" for prefix, space in _SPACES.items())
    body = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in properties.items())
    described = f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{_text(prompt)}</rdf:li></rdf:Alt></dc:description>'
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_SPACES["rdf"]}"><rdf:Description rdf:about=""{spaces}>{body}{described}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    )


def png(image: Image.Image, packet: str) -> bytes:
    """The image as PNG with the packet, uncompressed as the specification asks."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _text(value: object) -> str:
    """Escaped, with U+FFFD for what XML cannot hold."""
    return escape(_NOT_XML.sub("\ufffd", str(value)))
