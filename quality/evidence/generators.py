"""Which generator wrote a file, from the metadata that its own code writes; and which editor.

Forms as in the tools' sources (AUTOMATIC1111/stable-diffusion-webui modules/processing.py, comfyanonymous/ComfyUI nodes.py, invoke-ai/InvokeAI,
lllyasviel/Fooocus modules/meta_parser.py, mcmonkeyprojects/SwarmUI, easydiffusion, black-forest-labs/flux src/flux/util.py), compared with what
the readers sd-parsers (MIT) and stable-diffusion-prompt-reader (MIT) look for. Texts are searched, not parsed: a hostile graph costs no memory.
"""

import re
from collections.abc import Iterator
from typing import Final

Found = tuple[str, str]  # tool, place: "png:parameters", "exif:UserComment", "xmp:CreatorTool", "c2pa:softwareAgent"

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SEARCHED: Final = 1 << 18  # characters of a text that are looked at: a tool's keys stand before the first long value
_INFOTEXT: Final = re.compile(r"(?:^|\n)[ \t]{0,8}Steps: \d{1,5}, [^\n]{0,300}?\b(?:Sampler|CFG scale|Seed): ")
_DREAM: Final = re.compile(r"-s ?\d+ .{0,200}-S ?\d+ ")
_JOB: Final = re.compile(r"\bJob ID: " + _UUID)
_NODE: Final = re.compile(r'"class_type"\s*:')
_WORKFLOW: Final = re.compile(r'"nodes"\s*:\s*\[')
_SIGNATURE: Final = re.compile(r"Signature: ?[A-Za-z0-9+/=]{40}")
# Keys that only one tool's JSON has.
_JSON: Final = (
    ("swarmui", re.compile(r'"sui_image_params"\s*:')),
    ("fooocus", re.compile(r'"(?:metadata_scheme|base_model|Base Model|full_prompt)"\s*:')),
    ("easy-diffusion", re.compile(r'"(?:use_stable_diffusion_model|Stable Diffusion model)"\s*:')),
    ("invokeai", re.compile(r'"app_id"\s*:\s*"invoke-ai')),
    ("novelai", re.compile(r'"(?:uc|v4_prompt|request_type)"\s*:')),
)
# Of fields that are made to name a tool. First match counts: special names before the models' families.
_NAMES: Final = tuple(
    (tool, re.compile(pattern, re.IGNORECASE))
    for tool, pattern in (
        ("midjourney", r"\bmidjourney\b"),
        ("designer", r"bing image creator|image creator from designer|microsoft[ _]responsible[ _]ai"),
        ("dall-e", r"dall[·•. _-]?e\b|\bopenai\b|\bchatgpt\b|\bgpt-?4o\b|\bgpt-image"),
        ("firefly", r"adobe[ _]?firefly"),
        ("google", r"google (?:generative )?ai\b|\bgoogle imagen\b|\bimagen [2-9]|google gemini|nano banana"),
        ("meta-ai", r"\bmeta ai\b"),
        ("grok", r"\bxai grok\b|^grok\b"),
        ("automatic1111", r"automatic1111|stable-diffusion-webui"),
        ("comfyui", r"\bcomfyui\b"),
        ("invokeai", r"\binvoke-?ai\b"),
        ("novelai", r"\bnovelai\b"),
        ("fooocus", r"\bfooocus\b"),
        ("swarmui", r"\b(?:stable)?swarmui\b"),
        ("easy-diffusion", r"\beasy diffusion\b"),
        ("draw-things", r"^draw things\b"),
        ("flux", r"black forest labs|ai generated;\w+;flux|\bflux\.[12]\b"),
        ("ideogram", r"\bideogram\b"),
        ("leonardo", r"\bleonardo\.?ai\b"),
        ("runway", r"\brunwayml\b|\brunway gen"),
        ("recraft", r"\brecraft\b"),
        ("craiyon", r"\bcraiyon\b"),
        ("nightcafe", r"\bnightcafe\b"),
        ("stable-diffusion", r"stable[ _-]?diffusion|\bstability[ _]?ai\b|\bdreamstudio\b|\bsdxl\b"),
    )
)
# What generators write where the credit stands; names alone are agencies' there.
_CREDITS: Final = (("google", "made with google ai"), ("meta-ai", "imagined with ai"))
_EDITORS: Final = re.compile(
    r"photoshop|lightroom|camera raw|adobe (?:illustrator|bridge|express)|\bgimp\b|affinity|pixelmator|paint\.net|paint shop|inkscape|krita"
    r"|darktable|rawtherapee|capture one|luminar|snapseed|picasa|photoscape|\bvsco\b|picsart|facetune|meitu|beautyplus|faceapp|canva\b|figma|sketch"
    r"|coreldraw|corel |acdsee|photo ?pad|imagemagick|procreate|clip studio|dxo|on1 |topaz|photo editor|polarr|fotor|pixlr|google photos",
    re.IGNORECASE,
)


def in_png_text(texts: dict[str, str]) -> Iterator[Found]:
    """What the texts of a PNG say; by keyword."""
    if "fooocus_scheme" in texts:
        yield "fooocus", "png:fooocus_scheme"
    for keyword in ("prompt", "workflow"):
        if (text := texts.get(keyword)) is not None and is_graph(text):
            yield "comfyui", "png:" + keyword
    for keyword in ("invokeai_metadata", "invokeai_graph", "invokeai_workflow"):
        if texts.get(keyword, "").lstrip().startswith("{"):
            yield "invokeai", "png:" + keyword
    if texts.get("sd-metadata", "").lstrip().startswith("{"):
        yield "invokeai", "png:sd-metadata"
    if _DREAM.search(texts.get("Dream", "")[:5000]):
        yield "invokeai", "png:Dream"
    if texts.get("Software", "").strip() == "NovelAI" or texts.get("Source", "").startswith("NovelAI"):
        yield "novelai", "png:Software" if "Software" in texts else "png:Source"
    if "use_stable_diffusion_model" in texts or "Stable Diffusion model" in texts:
        yield "easy-diffusion", "png:use_stable_diffusion_model"
    if "Postprocess" in texts.get("postprocessing", "")[:2000]:
        yield "automatic1111", "png:postprocessing"
    if '"Label"' in texts.get("AIGC", "")[:5000]:
        yield "aigc-label", "png:AIGC"
    for keyword in ("parameters", "Comment", "UserComment", "Description"):
        for tool in in_free_text(texts.get(keyword, "")):
            yield tool, "png:" + keyword


def in_exif(texts: dict[str, str]) -> Iterator[Found]:
    """What EXIF says; texts by tag's name, as quality.evidence.exif has them."""
    for name in ("Model", "Make"):  # ComfyUI's nodes for WebP, SwarmUI's first form
        text = texts.get(name, "")
        if is_graph(text.partition(":")[2]):
            yield "comfyui", "exif:" + name
        elif text.startswith("{"):
            yield from ((tool, "exif:" + name) for tool in in_free_text(text))
    for name in ("UserComment", "ImageDescription"):
        for tool in in_free_text(texts.get(name, "")):
            yield tool, "exif:" + name
    if _SIGNATURE.match(texts.get("ImageDescription", "")) and re.fullmatch(_UUID, texts.get("Artist", "").strip()):
        yield "grok", "exif:ImageDescription"
    for name in ("Software", "Make"):
        for tool in named(texts.get(name, "")):
            yield tool, "exif:" + name


def in_free_text(text: str) -> Iterator[str]:
    """Tools whose own form a text has: A1111's infotext, a tool's JSON, Midjourney's job."""
    text = text[:_SEARCHED]
    if text[:200].lstrip().startswith("{"):
        for tool, keys in _JSON:
            if keys.search(text):
                yield tool
                return
        if is_graph(text):
            yield "comfyui"
    elif _INFOTEXT.search(text):
        yield "fooocus" if "Version: Fooocus" in text else "automatic1111"
    if _JOB.search(text):
        yield "midjourney"


def is_graph(text: str) -> bool:
    """Whether a text is a graph of ComfyUI: as sent to its server, or as its editor keeps it."""
    return text[:200].lstrip().startswith("{") and bool(_NODE.search(text, 0, _SEARCHED) or _WORKFLOW.search(text, 0, _SEARCHED))


def named(text: str) -> Iterator[str]:
    """The generator that a field names which is made to name a tool; at most one."""
    yield from [tool for tool, pattern in _NAMES if pattern.search(text[:500])][:1]


def credited(text: str) -> Iterator[str]:
    """The generator that a credit line names by its own phrase; at most one."""
    yield from [tool for tool, phrase in _CREDITS if phrase in text[:500].lower()][:1]


def is_editor(text: str) -> bool:
    """Whether a text names a well-known program that people edit or draw pictures with."""
    return bool(_EDITORS.search(text[:500]))
