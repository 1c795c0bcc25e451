"""Each generator's own form, in its real places; and what is none of them."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.exif import read_exif
from quality.evidence.generators import credited, in_exif, in_free_text, in_png_text, is_editor, is_graph, named
from quality.evidence.segments import read_segments
from tests.conftest import SOAK
from tests.trust import tools


def said(data: bytes) -> list[tuple[str, str]]:
    found = read_segments(data)
    return [*in_png_text(dict(found.texts)), *(one for tiff in found.exif for one in in_exif(read_exif(tiff).texts))]


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (tools.automatic1111_png, [("automatic1111", "png:parameters")]),
        (tools.automatic1111_jpeg, [("automatic1111", "exif:UserComment")]),
        (tools.automatic1111_webp, [("automatic1111", "exif:UserComment")]),
        (tools.automatic1111_extras, [("automatic1111", "png:postprocessing")]),
        (tools.comfyui_png, [("comfyui", "png:prompt"), ("comfyui", "png:workflow")]),
        (tools.comfyui_webp, [("comfyui", "exif:Model"), ("comfyui", "exif:Make")]),
        (tools.invokeai_3, [("invokeai", "png:invokeai_metadata")]),
        (tools.invokeai_2, [("invokeai", "png:sd-metadata"), ("invokeai", "png:Dream")]),
        (tools.invokeai_1, [("invokeai", "png:Dream")]),
        (tools.novelai, [("novelai", "png:Software"), ("novelai", "png:Comment")]),
        (tools.fooocus_png, [("fooocus", "png:fooocus_scheme"), ("fooocus", "png:parameters")]),
        (tools.fooocus_as_a1111, [("fooocus", "png:fooocus_scheme"), ("fooocus", "png:parameters")]),
        (tools.fooocus_jpeg, [("fooocus", "exif:UserComment"), ("fooocus", "exif:Software")]),
        (tools.swarmui_png, [("swarmui", "png:parameters")]),
        (tools.swarmui_jpeg, [("swarmui", "exif:UserComment")]),
        (tools.easy_diffusion_png, [("easy-diffusion", "png:use_stable_diffusion_model")]),
        (tools.easy_diffusion_jpeg, [("easy-diffusion", "exif:UserComment")]),
        (tools.midjourney_png, [("midjourney", "png:Description")]),
        (tools.flux, [("flux", "exif:Software"), ("flux", "exif:Make")]),
        (tools.grok, [("grok", "exif:ImageDescription")]),
        (tools.aigc_png, [("aigc-label", "png:AIGC")]),
        (tools.inkscape, []),
        (tools.gimp, []),
        (tools.scanner_shaped, []),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_forms(make, found):
    assert said(make()) == found


@pytest.mark.parametrize("name", tools.CAMERAS)
def test_cameras_are_no_generators(name):
    assert said(tools.camera_shaped(name)) == []


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("Steps: 20, Sampler: Euler", ["automatic1111"]),  # without a prompt
        ("a\nSteps: 20, Schedule type: Karras, Sampler: Euler", ["automatic1111"]),
        ("a\r\nSteps: 4, Seed: 1, Version: Fooocus v2.1", ["fooocus"]),
        (tools.COMFY_PROMPT, ["comfyui"]),
        ("  " + tools.COMFY_WORKFLOW, ["comfyui"]),
        (tools.FOOOCUS, ["fooocus"]),
        (f"moon Job ID: {tools.JOB}", ["midjourney"]),
        ("Ten Steps: 20, then left", []),  # not at a line's start
        ("Steps: 20 in all, to the garden", []),
        ("Steps: 3, of marble", []),
        ("Job ID: 4711", []),
        ("{}", []),
        ('{"nodes": 3}', []),
        ('{"title": "class_type of a train"}', []),
        ("", []),
    ],
)
def test_free_texts(text, tool):
    assert [*in_free_text(text)] == tool


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("DALL·E", "dall-e"),
        ("DALL-E 3", "dall-e"),
        ("OpenAI-API", "dall-e"),
        ("ChatGPT 1", "dall-e"),
        ("gpt-image-1", "dall-e"),
        ("Adobe_Firefly 1.0", "firefly"),
        ("Microsoft_Responsible_AI/1.0", "designer"),
        ("Image Creator from Designer", "designer"),
        ("Google Generative AI", "google"),
        ("Midjourney v6", "midjourney"),
        ("Stability AI", "stable-diffusion"),
        ("stable-diffusion-webui", "automatic1111"),
        ("AI generated;img2img;flux", "flux"),
        ("Draw Things", "draw-things"),
    ],
)
def test_names(text, tool):
    assert [*named(text)] == [tool]
    assert not is_editor(text)


@pytest.mark.parametrize(
    "text",
    [
        "Gemini Photos",
        "Firefly Photography",
        "Leonardo da Vinci",
        "f.lux",
        "Imagen: A. Pérez",
        "Adobe Photoshop 25.0",
        "HDR+ 1.0.58",
        "17.4.1",
        "",
    ],
)
def test_names_that_only_sound_so(text):
    assert [*named(text), *credited(text)] == []


def test_credits():
    assert [*credited("Made with Google AI")] == ["google"]
    assert [*credited("Imagined with AI")] == ["meta-ai"]
    assert [*credited("OpenAI press office")] == []


@pytest.mark.parametrize(
    "text", ["Adobe Photoshop CS6 (Macintosh)", "GIMP 2.10.36", "Snapseed 2.0", "www.inkscape.org", "paint.net 5.0", "Canva", "Picasa"]
)
def test_editors(text):
    assert is_editor(text)


@pytest.mark.parametrize("text", ["Ver.1.0", "iPhone OS 17", "HDR+ 1.0", "canvas", ""])
def test_no_editors(text):
    assert not is_editor(text)


@pytest.mark.parametrize(
    "text",
    [
        "\n" * (4 << 20),
        "\nSteps: 1, " * 400_000,
        "{" + '"uc":' * 800_000,
        "{" + '"class_type"' * 350_000,
        "{" + '"class_type"' + " " * (4 << 20),
        "{" + '"nodes" ' * 500_000,
        "Job ID: " * 500_000,
        "-s 1 " * 800_000,
        "{" * (4 << 20),
    ],
    ids=range(9),
)
def test_long_texts_take_no_time(text):
    start = time.thread_time()
    assert [*in_free_text(text)] in ([], ["novelai"])
    [*in_png_text(dict.fromkeys(("prompt", "workflow", "parameters", "Comment", "Dream", "postprocessing", "AIGC"), text))]
    is_graph(text)
    assert time.thread_time() - start < 1


@settings(max_examples=5_000 if SOAK else 200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["prompt", "parameters", "Comment", "Dream", "Software", "AIGC", "sd-metadata", "Make", "Model", "Artist"]),
        st.text(),
    )
)
def test_any_texts(texts):
    for tool, place in (*in_png_text(texts), *in_exif(texts)):
        assert tool and place.partition(":")[0] in ("png", "exif")
