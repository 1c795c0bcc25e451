"""The labelled set: images whose origin is known because they are made here, each with its name, its truth and the band that is due.

No photograph is in it and no person: the pictures are drawings of the packaged sample, what differs is what is written into the files. So it
measures how metadata, manifests and watermarks are read and weighed, not whether a picture looks generated.

C2PA manifests are signed by the tests' own chains: `trust_list` is the file to give as `trust`; what `chain("Stranger")` signed is not on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image

from quality.evidence.watermark import SCHEMES
from tests.trust import tools
from tests.trust.made import MINING, SOURCE_TYPES, broken, chain, jpeg, lapsed, mining, moved, png, signed, webp, xmp
from tests.trust.tools import drawing, picture, sketch
from tests.trust.watermarks import marked

BANDS: Final = ("none", "low", "review", "high")

# Photographs with faces are not in the repository: (package, file in it, who). They are there for those who install the package.
FACES: Final = (
    ("skimage", "data/astronaut.png", "Eileen Collins, NASA, public domain"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "Grace Hopper, US Navy, public domain"),
)


@dataclass(frozen=True)
class Labelled:
    """synthetic: whether a generator made or altered the picture, or would have, had the file been real. band: one of BANDS, what a reader
    of the evidence that is left must come to: an image whose marks are gone has none, whatever it is. holds: what is in it. make: its bytes.
    """

    name: str
    synthetic: bool
    band: str
    holds: str
    make: Callable[[], bytes]
    caption: str | None = None


def labelled() -> list[Labelled]:
    """All of the set, in a fixed order; names differ."""
    return [*GENERATORS, *IPTC, *C2PA, *WATERMARKS, *CAMERAS, *EDITORS, *DRAWINGS]


def trust_list(folder: Path) -> Path:
    """A new file of trust anchors with the root of the tests' signer."""
    path = folder / "anchors.pem"
    path.write_text(chain()[2])
    return path


GENERATORS: Final = [
    Labelled("automatic1111-png", True, "high", "PNG text `parameters`", tools.automatic1111_png),
    Labelled("automatic1111-jpeg", True, "high", "EXIF UserComment, UTF-16", tools.automatic1111_jpeg),
    Labelled("automatic1111-webp", True, "high", "EXIF UserComment, UTF-16", tools.automatic1111_webp),
    Labelled("automatic1111-extras", True, "high", "PNG text `postprocessing`: upscaled", tools.automatic1111_extras),
    Labelled("comfyui-png", True, "high", "PNG text `prompt` and `workflow`", tools.comfyui_png),
    Labelled("comfyui-webp", True, "high", "EXIF Model and Make hold the graph", tools.comfyui_webp),
    Labelled("invokeai-3", True, "high", "PNG text `invokeai_metadata`", tools.invokeai_3),
    Labelled("invokeai-2", True, "high", "PNG text `sd-metadata` and `Dream`", tools.invokeai_2),
    Labelled("invokeai-1", True, "high", "PNG text `Dream`", tools.invokeai_1),
    Labelled("novelai", True, "high", "PNG text Software, Source and Comment", tools.novelai),
    Labelled("fooocus-png", True, "high", "PNG text `parameters` and `fooocus_scheme`", tools.fooocus_png),
    Labelled("fooocus-as-a1111", True, "high", "`fooocus_scheme`, parameters in A1111's form", tools.fooocus_as_a1111),
    Labelled("fooocus-jpeg", True, "high", "EXIF Software, UserComment, MakerNote", tools.fooocus_jpeg),
    Labelled("fooocus-comment", True, "high", "JPEG comment, JSON", tools.fooocus_comment),
    Labelled("swarmui-png", True, "high", "PNG text with `sui_image_params`", tools.swarmui_png),
    Labelled("swarmui-jpeg", True, "high", "EXIF UserComment with `sui_image_params`", tools.swarmui_jpeg),
    Labelled("easy-diffusion-png", True, "high", "PNG text of each parameter", tools.easy_diffusion_png),
    Labelled("easy-diffusion-jpeg", True, "high", "EXIF UserComment, JSON", tools.easy_diffusion_jpeg),
    Labelled("draw-things", True, "high", "XMP CreatorTool and UserComment", tools.draw_things),
    Labelled("midjourney-png", True, "high", "PNG Description with Job ID, XMP source type", tools.midjourney_png),
    Labelled("midjourney-jpeg", True, "high", "XMP description with Job ID", tools.midjourney_jpeg),
    Labelled("flux", True, "high", "EXIF Software, Make and Model", tools.flux),
    Labelled("google-xmp", True, "high", "XMP Credit and source type", tools.google_xmp),
    Labelled("google-iim", True, "high", "IIM Credit", tools.google_iim),
    Labelled("firefly-xmp", True, "high", "XMP CreatorTool", tools.firefly_xmp),
    Labelled("grok", True, "high", "EXIF signature, the job as artist", tools.grok),
    Labelled("aigc-png", True, "high", "PNG text `AIGC` (TC260)", tools.aigc_png),
    Labelled("aigc-xmp", True, "high", "XMP TC260:AIGC", tools.aigc_xmp),
    Labelled("stable-diffusion", True, "high", "PNG text Software", tools.stable_diffusion),
]


# ---- IPTC fields, unsigned


def _typed(kind: str) -> bytes:
    return xmp(attributes={"Iptc4xmpExt:DigitalSourceType": SOURCE_TYPES + kind})


AI_FIELDS: Final = {
    "Iptc4xmpExt:AISystemUsed": "Example Painter",
    "Iptc4xmpExt:AISystemVersionUsed": "2.1",
    "Iptc4xmpExt:AIPromptInformation": tools.PROMPT,
    "Iptc4xmpExt:AIPromptWriterName": "A. Writer",
}
_SYSTEM: Final = {"Iptc4xmpExt:AISystemUsed": "Example Painter"}
_PROHIBITED: Final = xmp(attributes={"plus:DataMining": MINING + "DMI-PROHIBITED-AIMLTRAINING"})

IPTC: Final = [
    Labelled("iptc-trained", True, "review", "trainedAlgorithmicMedia", lambda: jpeg(picture(), xmp=_typed("trainedAlgorithmicMedia"))),
    Labelled(
        "iptc-composite",
        True,
        "review",
        "compositeWithTrained...",
        lambda: jpeg(sketch(), xmp=_typed("compositeWithTrainedAlgorithmicMedia")),
    ),
    Labelled("iptc-capture", False, "none", "digitalCapture", lambda: jpeg(sketch(), xmp=_typed("digitalCapture"))),
    Labelled("iptc-creation", False, "none", "digitalCreation", lambda: webp(sketch(), xmp=_typed("digitalCreation"))),
    Labelled("iptc-ai-fields", True, "high", "all four fields of IPTC 2025.1", lambda: jpeg(picture(), xmp=xmp(elements=AI_FIELDS))),
    Labelled("iptc-ai-system", True, "high", "AISystemUsed alone, an attribute", lambda: png(picture(), xmp=xmp(attributes=_SYSTEM))),
    Labelled("iptc-mining", False, "none", "mining prohibited; no word of the origin", lambda: jpeg(sketch(), xmp=_PROHIBITED)),
]


# ---- C2PA


def _trained(make: Callable[..., bytes] = jpeg, **more) -> bytes:
    """Signed, trainedAlgorithmicMedia unless told otherwise."""
    return signed(make(picture()), f"image/{make.__name__}", **more)


def _capture(**more) -> bytes:
    return signed(jpeg(sketch()), "image/jpeg", source_type="digitalCapture", tool="Test Camera", **more)


def _stranger() -> tuple[str, str, str]:
    return chain("Stranger")


def _opened() -> bytes:
    return _trained(action="c2pa.opened", source_type=None, tool="Test Editor", ingredients=[("parentOf", _trained())])


def _composed() -> bytes:
    return _trained(source_type="digitalCreation", tool="Test Editor", ingredients=[("componentOf", _trained())])


def _mining() -> tuple[dict, ...]:
    return (mining("cawg.training-mining", ai_generative_training="notAllowed", data_mining="allowed"),)


def _brighter(image: Image.Image) -> Image.Image:
    return image.point(lambda value: min(255, value + 9))


_COMPOSITE: Final = "compositeWithTrainedAlgorithmicMedia"

C2PA: Final = [
    Labelled("c2pa-trusted-trained-jpeg", True, "high", "trusted: trainedAlgorithmicMedia", _trained),
    Labelled("c2pa-trusted-trained-png", True, "high", "trusted: trainedAlgorithmicMedia", lambda: _trained(png)),
    Labelled("c2pa-trusted-trained-webp", True, "high", "trusted: trainedAlgorithmicMedia", lambda: _trained(webp)),
    Labelled("c2pa-trusted-composite", True, "high", "trusted: compositeWithTrained...", lambda: _trained(source_type=_COMPOSITE)),
    Labelled("c2pa-trusted-capture", False, "none", "trusted: digitalCapture", _capture),
    Labelled("c2pa-trusted-mining", False, "none", "trusted: digitalCapture; no training", lambda: _capture(assertions=_mining())),
    Labelled("c2pa-untrusted-trained", True, "high", "stranger: trained...; who would say so falsely", lambda: _trained(by=_stranger())),
    Labelled("c2pa-untrusted-capture", False, "low", "stranger: digitalCapture; anybody can sign that", lambda: _capture(by=_stranger())),
    Labelled(
        "c2pa-edited-trained-jpeg", True, "review", "changed later: trained...", lambda: moved(_trained(), jpeg(_brighter(picture())))
    ),
    Labelled(
        "c2pa-edited-trained-png", True, "review", "changed later: trained...", lambda: moved(_trained(png), png(_brighter(picture())))
    ),
    Labelled("c2pa-edited-capture", True, "review", "changed later: digitalCapture", lambda: moved(_capture(), jpeg(_brighter(sketch())))),
    Labelled(
        "c2pa-lapsed", False, "low", "digitalCapture; the certificate has run out since", lambda: lapsed(jpeg(sketch()), "image/jpeg")
    ),
    Labelled("c2pa-broken", False, "low", "a manifest store that cannot be read", lambda: broken(_capture())),
    Labelled("c2pa-dall-e", True, "high", "trusted: DALL·E, software agent", lambda: _trained(png, tool="ChatGPT", agent="DALL·E")),
    Labelled(
        "c2pa-firefly", True, "high", "trusted: Firefly, claim generator", lambda: _trained(tool="Adobe_Firefly", agent="Adobe Firefly")
    ),
    Labelled("c2pa-parent-trained", True, "high", "trusted: an edit of trainedAlgorithmicMedia", _opened),
    Labelled("c2pa-component-trained", True, "high", "trusted: trainedAlgorithmicMedia is a part", _composed),
    Labelled("c2pa-stripped", True, "none", "was signed, then saved again: nothing is left", lambda: jpeg(sketch())),
]


# ---- watermarks


def _mark(scheme: str, plane: str) -> np.ndarray:
    return marked(tools.grainy(), SCHEMES[scheme].bits, plane)


def _xl() -> Image.Image:
    return Image.fromarray(_mark("stable-diffusion-xl", "floats"))


def _marked_png(scheme: str, plane: str) -> bytes:
    return png(Image.fromarray(_mark(scheme, plane)))


def _smaller(image: Image.Image) -> Image.Image:
    return Image.fromarray(cv2.resize(np.array(image), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA))


WATERMARKS: Final = [
    *(
        Labelled(f"watermark-{scheme}-{plane}", True, "high", f"{scheme}, written to {plane}", partial(_marked_png, scheme, plane))
        for scheme in SCHEMES
        for plane in SCHEMES[scheme].planes
    ),
    Labelled("watermark-webp", True, "high", "SDXL, lossless WebP", lambda: webp(_xl(), lossless=True)),
    Labelled("watermark-jpeg-90-444", True, "high", "SDXL, JPEG 90, full colour", lambda: jpeg(_xl(), quality=90, full_colour=True)),
    Labelled("watermark-jpeg-75-444", True, "high", "SDXL, JPEG 75, full colour", lambda: jpeg(_xl(), quality=75, full_colour=True)),
    Labelled("watermark-jpeg-95", True, "high", "SDXL, JPEG 95, halved colour", lambda: jpeg(_xl(), quality=95)),
    Labelled("watermark-jpeg-90", True, "low", "SDXL, JPEG 90, halved colour: dead here, but 512x512", lambda: jpeg(_xl(), quality=90)),
    Labelled("watermark-jpeg-75", True, "low", "SDXL, JPEG 75, halved colour: dead here, but 512x512", lambda: jpeg(_xl(), quality=75)),
    Labelled("watermark-jpeg-50", True, "low", "SDXL, JPEG 50, halved colour: dead here, but 512x512", lambda: jpeg(_xl(), quality=50)),
    Labelled("watermark-bottom-cut", True, "high", "SDXL, cut at the bottom", lambda: png(_xl().crop((0, 0, 512, 400)))),
    Labelled("watermark-resized", True, "none", "SDXL, scaled by 0.9: dead", lambda: png(_smaller(_xl()))),
    Labelled("watermark-cropped", True, "none", "SDXL, cut above and left: dead", lambda: png(_xl().crop((26, 26, 512, 512)))),
]


# ---- cameras, editors, drawings

CAMERAS: Final = [
    *(
        Labelled(f"camera-shaped-{name}", False, "none", "EXIF as this camera writes it", partial(tools.camera_shaped, name))
        for name in tools.CAMERAS
    ),
    Labelled("camera-shaped-gps", False, "none", "EXIF with a position", lambda: tools.camera_shaped("iphone", gps=True)),
    Labelled("camera-shaped-square", False, "none", "1024x1024 pixels", lambda: tools.camera_shaped("canon", picture=picture(1024))),
    Labelled("camera-shaped-developed", False, "none", "EXIF and XMP after Lightroom", tools.developed),
    Labelled("camera-shaped-scanner", False, "none", "Make and Model, no exposure", tools.scanner_shaped),
]
EDITORS: Final = [
    Labelled("editor-photoshop", False, "none", "EXIF Software, XMP history, IIM caption", tools.edited_in_photoshop),
    Labelled("editor-history", False, "none", "XMP history alone", tools.history_alone),
    Labelled("editor-gimp", False, "none", "EXIF Software, PNG Comment", tools.gimp),
    Labelled("editor-inkscape", False, "none", "PNG text Software", tools.inkscape),
    Labelled("editor-krita", False, "none", "XMP CreatorTool", tools.krita),
]
_AS_THEY_ARE: Final = (
    "openclipart/animals-bugs-butterfly_jonvdveen_01.jpg",
    "openclipart/animals-mammals-big_cats-tiger_graig_ryan_smith_-_01.webp",
    "openclipart/computer-icons-flat-theme-action-bar0.png",
    "noto/adhesive-bandage.png",
)
DRAWINGS: Final = [
    *(Labelled("drawing-" + Path(name).stem, False, "none", "as in the sample", partial(drawing, name)) for name in _AS_THEY_ARE),
    Labelled("drawing-512", False, "low", "a size that generators make, and nothing else", lambda: png(picture())),
    Labelled(
        "drawing-captioned", True, "low", "the caption, and nothing else", lambda: jpeg(sketch()), "ai generated picture of a lighthouse"
    ),
    Labelled("drawing-prompt", False, "none", "PNG text `prompt` that is no graph", lambda: png(sketch(), texts={"prompt": "Draw a bird"})),
]
