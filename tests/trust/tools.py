"""Files as the tools themselves write them: generators, cameras and editors; each function returns bytes. Sources beside the forms.

Files called "camera-shaped" have the fields that a camera writes; no camera made them.
"""

import io
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from typing import Any, Final

import numpy as np
from PIL import Image

from tests.scoring import SAMPLE
from tests.trust.made import SOURCE_TYPES, exif, history, jpeg, photoshop, png, user_comment, webp, xmp

PROMPT: Final = "a lighthouse at dusk, oil painting, (detailed:1.2)"
JOB: Final = "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
GENERATED: Final = {"Iptc4xmpExt:DigitalSourceType": SOURCE_TYPES + "trainedAlgorithmicMedia"}
PHOTOSHOP: Final = "Adobe Photoshop 25.5 (Windows)"
LIGHTROOM: Final = "Adobe Photoshop Lightroom Classic 13.2 (Windows)"


# ---- pictures


def drawing(name: str) -> bytes:
    """A file of the sample, as it is."""
    return (SAMPLE / "images" / name).read_bytes()


@cache
def picture(side: int = 512) -> Image.Image:
    """A drawing of the sample as RGB, `side` pixels square, as generators make them."""
    with Image.open(io.BytesIO(drawing("openclipart/animals-bugs-butterfly_jonvdveen_01.jpg"))) as image:
        return image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


@cache
def sketch() -> Image.Image:
    """A drawing of the sample as RGB, of sides that no generator makes."""
    with Image.open(io.BytesIO(drawing("openclipart/animals-birds-penguin-tux_clemente_01.jpg"))) as image:
        return image.convert("RGB").resize((542, 769), Image.Resampling.LANCZOS)


def grainy() -> np.ndarray:
    """A drawing with paper's grain, RGB, uint8, 512x512: flat drawings keep a watermark longer than photographs."""
    grain = np.random.Generator(np.random.PCG64(4)).normal(0, 6, (512, 512, 1))
    return np.clip(np.array(picture()) * 0.8 + 20 + grain, 0, 255).astype(np.uint8)


# ---- generators

# AUTOMATIC1111/stable-diffusion-webui: modules/processing.py, create_infotext; modules/images.py: PNG text, or a UserComment of UTF-16
A1111: Final = (
    f"{PROMPT}\nNegative prompt: blurry, text\nSteps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234567890, Size: 512x512, "
    "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: v1.9.4"
)
# comfyanonymous/ComfyUI, nodes.py, SaveImage: the graph as sent to the server, and the workflow as the editor has it
COMFY_PROMPT: Final = json.dumps(
    {
        "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "model": ["4", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["4", 1]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    }
)
COMFY_WORKFLOW: Final = json.dumps({"last_node_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": [], "version": 0.4})
# invoke-ai/InvokeAI 3 and later, and the forms of its versions 2 and 1
INVOKE_3: Final = json.dumps({"generation_mode": "sdxl_txt2img", "positive_prompt": PROMPT, "steps": 30, "app_version": "4.2.0"})
INVOKE_2: Final = json.dumps({"model": "stable diffusion", "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.5", "image": {"steps": 50}})
INVOKE_1: Final = f'"{PROMPT}" -s 50 -S 1234 -W 512 -H 512 -C 7.5 -A k_lms'
NOVELAI: Final = json.dumps({"steps": 28, "sampler": "k_euler_ancestral", "seed": 99, "scale": 5.0, "uc": "lowres", "prompt": PROMPT})
# lllyasviel/Fooocus, modules/meta_parser.py: PNG text; else EXIF 0x9286, 0x0131 and 0x927C, all in the first directory
FOOOCUS: Final = json.dumps(
    {"prompt": PROMPT, "steps": 30, "base_model": "juggernautXL_v8", "metadata_scheme": "fooocus", "version": "Fooocus v2.5.0"}
)
SWARM: Final = json.dumps({"sui_image_params": {"prompt": PROMPT, "model": "sd_xl_base_1.0", "steps": 20, "swarm_version": "0.9.4"}})
EASY: Final = {"prompt": PROMPT, "seed": "42", "use_stable_diffusion_model": "sd-v1-5", "negative_prompt": "", "num_inference_steps": "25"}
DRAW_THINGS: Final = json.dumps({"c": PROMPT, "model": "sd_v1.5_f16.ckpt", "sampler": "Euler a", "steps": 30, "seed": 7})
MIDJOURNEY: Final = f"{PROMPT} --ar 1:1 --v 6.1 Job ID: {JOB}"
# TC260's practice guide and GB 45438-2025: the label that generators in China have to write
AIGC: Final = json.dumps({"Label": "1", "ContentProducer": "001191110102MACQD9K64010000", "ProduceID": "p-1", "ReservedCode1": ""})


def automatic1111_png() -> bytes:
    return png(picture(), texts={"parameters": A1111})


def automatic1111_jpeg() -> bytes:
    return jpeg(picture(), exif=exif(photo={0x9286: user_comment(A1111)}))


def automatic1111_webp() -> bytes:
    return webp(picture(), exif=exif(photo={0x9286: user_comment(A1111)}))


def automatic1111_extras() -> bytes:
    """The tab "Extras": upscaled or restored, not generated from noise."""
    return png(picture(), texts={"postprocessing": "Postprocess upscale by: 2, Postprocess upscaler: R-ESRGAN 4x+"})


def comfyui_png() -> bytes:
    return png(picture(), texts={"prompt": COMFY_PROMPT, "workflow": COMFY_WORKFLOW})


def comfyui_webp() -> bytes:
    """ComfyUI's nodes for WebP: Model and Make are used as containers."""
    return webp(picture(), exif=exif({0x0110: "prompt:" + COMFY_PROMPT, 0x010F: "workflow:" + COMFY_WORKFLOW}))


def invokeai_3() -> bytes:
    return png(picture(), texts={"invokeai_metadata": INVOKE_3})


def invokeai_2() -> bytes:
    return png(picture(), texts={"Dream": INVOKE_1, "sd-metadata": INVOKE_2})


def invokeai_1() -> bytes:
    return png(picture(), texts={"Dream": INVOKE_1})


def novelai() -> bytes:
    texts = {"Title": "NovelAI generated image", "Description": PROMPT, "Software": "NovelAI", "Source": "NovelAI Diffusion V4.5 4BDE2A90"}
    return png(picture(), texts={**texts, "Comment": NOVELAI})


def fooocus_png() -> bytes:
    return png(picture(), texts={"parameters": FOOOCUS, "fooocus_scheme": "fooocus"})


def fooocus_as_a1111() -> bytes:
    return png(picture(), texts={"parameters": A1111.replace("v1.9.4", "Fooocus v2.5.0"), "fooocus_scheme": "a1111"})


def fooocus_jpeg() -> bytes:
    return jpeg(picture(), exif=exif({0x9286: FOOOCUS, 0x0131: "Fooocus v2.5.0", 0x927C: "fooocus"}))


def fooocus_comment() -> bytes:
    """Fooocus before 2.2: a JPEG comment."""
    return jpeg(picture(), comment=json.dumps({"Prompt": PROMPT, "Base Model": "juggernautXL_v8", "Performance": "Speed", "Sharpness": 2}))


def swarmui_png() -> bytes:
    return png(picture(), texts={"parameters": SWARM})


def swarmui_jpeg() -> bytes:
    return jpeg(picture(), exif=exif(photo={0x9286: user_comment(SWARM)}))


def easy_diffusion_png() -> bytes:
    return png(picture(), texts=EASY)


def easy_diffusion_jpeg() -> bytes:
    return jpeg(picture(), exif=exif(photo={0x9286: user_comment(json.dumps(EASY))}))


def draw_things() -> bytes:
    comment = f'<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{escape(DRAW_THINGS)}</rdf:li></rdf:Alt></exif:UserComment>'
    return png(picture(), xmp=xmp(elements={"xmp:CreatorTool": "Draw Things"}, more=comment))


def midjourney_png() -> bytes:
    packet = xmp(attributes=GENERATED | {"Iptc4xmpExt:DigImageGUID": JOB})
    return png(picture(), texts={"Description": MIDJOURNEY, "Author": "somebody"}, xmp=packet)


def midjourney_jpeg() -> bytes:
    return jpeg(picture(), xmp=xmp(described=MIDJOURNEY))


def flux() -> bytes:
    """black-forest-labs/flux, src/flux/util.py, save_image: a maker and a model that are no camera's."""
    return jpeg(
        picture(), exif=exif({0x0131: "AI generated;txt2img;flux", 0x010F: "Black Forest Labs", 0x0110: "flux-dev", 0x010E: PROMPT})
    )


def google_xmp() -> bytes:
    return png(picture(), xmp=xmp(attributes=GENERATED, elements={"photoshop:Credit": "Made with Google AI"}))


def google_iim() -> bytes:
    return jpeg(picture(), iim=photoshop([(2, 110, "Made with Google AI")]))


def firefly_xmp() -> bytes:
    return jpeg(picture(), xmp=xmp(attributes={"xmp:CreatorTool": "Adobe Firefly 3.0"}))


def grok() -> bytes:
    """xAI: a signature where the description stands, and the job as artist."""
    return jpeg(picture(), exif=exif({0x010E: "Signature: " + "Zm9v" * 20, 0x013B: JOB}))


def aigc_png() -> bytes:
    return png(picture(), texts={"AIGC": AIGC})


def aigc_xmp() -> bytes:
    return jpeg(picture(), xmp=xmp(elements={"TC260:AIGC": AIGC}))


def stable_diffusion() -> bytes:
    return png(picture(), texts={"Software": "Stable Diffusion"})


# ---- cameras (EXIF 2.32, tables 4 to 8)


def _photo(**more: Any) -> dict[int, Any]:
    taken = "2024:05:04 10:11:12"
    names = {"lens": 0xA434, "maker_note": 0x927C}
    photo = {0x829A: 1 / 250, 0x829D: 5.6, 0x8827: 200, 0x9003: taken, 0x9004: taken, 0x9209: 16, 0x920A: 35.0, 0xA402: 0, 0xA403: 0}
    return photo | {names[name]: value for name, value in more.items()}


CAMERAS: Final[Mapping[str, tuple[tuple[str, str, str], dict[int, Any]]]] = {
    "canon": (("Canon", "Canon EOS R6", "Firmware Version 1.8.1"), _photo(lens="RF24-105mm F4 L IS USM", maker_note=bytes(64))),
    "nikon": (("NIKON CORPORATION", "NIKON Z 6_2", "Ver.01.60 "), _photo(lens="NIKKOR Z 24-70mm f/4 S", maker_note=b"Nikon\0" + bytes(60))),
    "sony": (("SONY", "ILCE-7M4", "ILCE-7M4 v2.00"), _photo(lens="FE 35mm F1.8", maker_note=b"SONY DSC \0\0\0" + bytes(60))),
    "iphone": (("Apple", "iPhone 15 Pro", "17.4.1"), _photo(lens="iPhone 15 Pro back triple camera 6.86mm f/1.78")),
    "samsung": (("samsung", "SM-S921N", "S921NKSU1AXB7"), _photo()),
    "pixel": (("Google", "Pixel 8", "HDR+ 1.0.585804376zd"), _photo()),
    "drone": (("DJI", "FC3582", "10.14.01.77"), _photo()),
}
SEOUL: Final = {1: "N", 2: (37.0, 33.0, 58.0), 3: "E", 4: (126.0, 58.0, 40.0)}


def camera_shaped(name: str, *, software: str | None = None, gps: bool = False, picture: Image.Image | None = None, **more: Any) -> bytes:
    """A JPEG with the EXIF of one of CAMERAS. software: instead of the firmware."""
    (make, model, firmware), photo = CAMERAS[name]
    tags = {0x010F: make, 0x0110: model, 0x0131: software or firmware, 0x0132: "2024:05:04 10:11:12"}
    return jpeg(picture or sketch(), exif=exif(tags, photo, SEOUL if gps else None), **more)


def developed() -> bytes:
    packet = xmp(attributes={"xmp:CreatorTool": LIGHTROOM, "tiff:Make": "Canon"})
    return camera_shaped("canon", software=LIGHTROOM, xmp=packet)


def scanner_shaped() -> bytes:
    return jpeg(sketch(), exif=exif({0x010F: "EPSON", 0x0110: "Perfection V600"}))


# ---- editors


def edited_in_photoshop() -> bytes:
    packet = xmp(attributes={"xmp:CreatorTool": PHOTOSHOP}, more=history(PHOTOSHOP))
    return jpeg(sketch(), exif=exif({0x0131: PHOTOSHOP}), xmp=packet, iim=photoshop([(2, 120, "a penguin")]))


def history_alone() -> bytes:
    return jpeg(sketch(), xmp=xmp(more=history(PHOTOSHOP)))


def gimp() -> bytes:
    return png(sketch(), texts={"Comment": "Created with GIMP"}, exif=exif({0x0131: "GIMP 2.10.36"}))


def inkscape() -> bytes:
    return png(sketch(), texts={"Software": "www.inkscape.org"})


def krita() -> bytes:
    return webp(sketch(), xmp=xmp(elements={"xmp:CreatorTool": "Krita 5.2.2"}))
