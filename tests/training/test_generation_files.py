"""What is written into and beside pictures: metadata, contact sheets, fonts, the index."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image

from quality.evidence.segments import read_segments
from quality.evidence.xmp import read_xmp
from training.generate import read_prompts
from training.generation.draw import GenerationError
from training.generation.fonts import PREFERRED, FontError, font_for, lacks, letters_of, sized
from training.generation.index import Index, IndexFileError, model_digest
from training.generation.marking import TRAINED, png, xmp
from training.generation.progress import duration
from training.generation.sheet import CELL, PROMPTS, Row, sheets, wrapped

LATIN = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
HOSTILE = '<!DOCTYPE x [<!ENTITY a "b">]> & "q" \'s\' ]]> \x00\x1b\ufffe 고양이 🐈 </rdf:li>'


def tile(colour: str, size=(16, 16)) -> Image.Image:
    return Image.new("RGB", size, colour)


def packet_of(data: bytes):
    (packet,) = read_segments(data).xmp
    return read_xmp(packet)


def test_metadata_says_what_made_the_picture():
    packet = xmp(system="Pigment base", version="0123", prompt="a cat", program="Pigment", settings={"seed": 3, "steps": None})
    data = png(tile("red"), packet)
    found = packet_of(data)
    assert found.whole and not found.refused
    assert found.first("Iptc4xmpExt:DigitalSourceType") == TRAINED and found.first("Iptc4xmpExt:AISystemUsed") == "Pigment base"
    assert found.first("Iptc4xmpExt:AISystemVersionUsed") == "0123" and found.first("Iptc4xmpExt:AIPromptInformation") == "a cat"
    assert "<pigment:seed>3</pigment:seed>" in packet and "pigment:steps" not in packet
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(tile("red")))


def test_no_prompt_breaks_out_of_the_metadata():
    found = packet_of(png(tile("red"), xmp(system=HOSTILE, version="1", prompt=HOSTILE, program="Pigment", settings={"prompt": HOSTILE})))
    clean = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ufffe", "\ufffd")
    assert found.whole and not found.refused
    assert found.first("Iptc4xmpExt:AIPromptInformation") == clean and found.first("dc:description") == clean


def test_a_font_with_the_letters_is_found():
    assert font_for(["a cute cat"]) == LATIN
    found = font_for(["a cute cat", "귀여운 고양이 수채화"])
    korean = any(Path(folder).is_dir() and any(Path(folder).rglob(f"{start}*")) for folder in ("/usr/share/fonts",) for start in PREFERRED)
    assert lacks(found, "고양이") != korean  # without one on the system, the captions say so
    assert lacks(LATIN, "고양이") and not lacks(LATIN, "cat") and "가" not in letters_of(LATIN)


def test_a_file_that_is_no_font_is_named(tmp_path):
    (tmp_path / "a.ttf").write_text("no font")
    with pytest.raises(FontError, match=r"a\.ttf"):
        font_for((), file=tmp_path / "a.ttf")


def test_sheets_show_every_picture_with_its_caption():
    colours = [(10 * number, 255 - 10 * number, 7) for number in range(8)]
    rows = [Row(f"prompt of {number}", [tile(colour), tile(colour)]) for number, colour in enumerate(colours)]
    (sheet,) = sheets(rows, LATIN)
    pixels = np.asarray(sheet).reshape(-1, 3)
    for colour in colours:
        assert (pixels == colour).all(1).sum() == 2 * CELL[0] ** 2  # enlarged by whole pixels
    captioned, bare = (next(sheets([Row(text, [tile("red")])], LATIN)) for text in ("x", ""))
    assert not np.array_equal(np.asarray(captioned), np.asarray(bare))


def test_large_and_flat_pictures_keep_their_ratio():
    (sheet,) = sheets([Row("wide", [tile("red", (1024, 256))])], LATIN)
    ys, xs = np.nonzero((np.asarray(sheet) == (255, 0, 0)).all(2))
    assert (np.ptp(xs) + 1, np.ptp(ys) + 1) == (CELL[1], CELL[1] // 4)


def test_a_caption_that_cannot_be_drawn_is_its_number():
    korean, number = (
        next(sheets([Row(text, [tile("red")], number=7)], LATIN)) for text in ("고양이", "prompt 7 (no font for its letters)")
    )
    assert np.array_equal(np.asarray(korean), np.asarray(number))


def test_many_prompts_take_several_sheets():
    assert len(list(sheets([Row("", [tile("red", (2, 2))])] * (PROMPTS + 1), LATIN))) == 2


@pytest.mark.parametrize(
    ("text", "lines"),
    [("short", ["short"]), ("one two three four", ["one two", "three", "four"]), ("abcdefghijklmnop", ["abcdefgh", "ijklmnop"]),
     ("one two three four five", ["one two", "three", "four…"]), ("", [])],
)  # fmt: skip
def test_captions_are_wrapped_at_spaces_and_cut(text, lines):
    assert wrapped(text, 8, len, 3) == lines


def test_wrapping_measures_in_pixels():
    length = sized(LATIN, 15).getlength
    assert all(length(line) <= 100 for line in wrapped("a long prompt that says very much about very little " * 3, 100, length, 3))


def test_prompts_are_read_and_mistakes_named(tmp_path):
    (tmp_path / "p.txt").write_bytes("\ufeff고양이\r\n\r\n  a   dog \n".encode())
    assert read_prompts(["first"], str(tmp_path / "p.txt")) == ["first", "고양이", "a dog"]
    with pytest.raises(GenerationError, match="no prompt"):
        read_prompts([" "], None)
    with pytest.raises(GenerationError, match="not UTF-8"):
        read_prompts(["\udcff"], None)


def test_an_index_forgives_half_a_last_line_and_nothing_else(tmp_path):
    index = Index(tmp_path)
    for number in range(2):
        index.add({"file": f"{number}.png", "sha256": "", "prompt_number": number, "made": "a", "kept": 1}, b"x")
    text = index.path.read_text()
    index.path.write_text(text[:-10])
    assert sorted(Index(tmp_path).lines) == [0]
    index.path.write_text("no index\n" + text)
    with pytest.raises(IndexFileError, match=r"pictures\.jsonl:1"):
        Index(tmp_path)


def test_the_models_digest_is_of_its_weights():
    import torch

    linear, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    other.load_state_dict(linear.state_dict())
    assert model_digest({"unet": linear, "scheduler": object()}) == model_digest({"scheduler": None, "unet": other})
    assert model_digest({"unet": linear}) != model_digest({"vae": linear})
    with torch.no_grad():
        other.bias[0] += 1e-6
    assert model_digest({"unet": linear}) != model_digest({"unet": other})
    assert model_digest({"unet": linear.bfloat16()}) != model_digest({"unet": other})


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_are_said_as_people_do(seconds, said):
    assert duration(seconds) == said
