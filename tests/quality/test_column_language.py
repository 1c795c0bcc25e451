"""Languages of captions: what the library says, for whole columns."""

import csv
from pathlib import Path

import pyarrow as pa
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from quality.columns import COLUMN_FUNCTIONS

SAMPLE = Path(__file__).parent.parent / "data" / "sample" / "metadata.csv"
FUNCTION = COLUMN_FUNCTIONS["caption.language"]


def told(*captions) -> list[tuple]:
    table = FUNCTION.compute(pa.table({"caption": pa.array(captions, pa.string())}))
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("caption", "language"),
    [
        ("a dog plays on the beach with a red ball", "en"),
        ("강아지가 해변에서 빨간 공을 가지고 놀고 있다", "ko"),
        ("Ein Hund spielt am Strand mit einem roten Ball", "de"),
        ("犬がビーチで赤いボールで遊んでいる", "ja"),
        ("dog", "und"),
        ("", "und"),
    ],
)
def test_languages(caption, language):
    assert told(caption)[0][0] == language


def test_the_loop_says_what_the_library_says():
    with SAMPLE.open(encoding="utf-8") as file:
        captions = [row[name] for row in csv.DictReader(file) for name in ("caption", "caption_ko") if row[name]]
    captions += ["", " ", "A LOUD CAPTION ABOUT A HOUSE", "e\u0301te\u0301", "Ово је српски", "Ovo je srpski jezik", "x" * 5_000]
    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    for caption, (language, confidence) in zip(captions, told(*captions), strict=True):
        wanted, probability = library.classify(caption)
        assert language == (wanted if probability >= 0.2 else "und"), caption
        assert confidence == pytest.approx(probability, abs=2e-4), caption


def test_nulls_chunks_and_what_is_asked():
    captions = pa.chunked_array([["a dog on the beach", None], [], [None, "강아지가 놀고 있다"]], pa.string())
    whole = FUNCTION.compute(pa.table({"caption": captions}))
    assert whole.schema.equals(FUNCTION.fields)
    assert whole["caption.language"].to_pylist() == ["en", None, None, "ko"]
    assert [value is None for value in whole["caption.language_confidence"].to_pylist()] == [False, True, True, False]
    one = FUNCTION.compute(pa.table({"caption": captions}), ["caption.language_confidence"])
    assert one.column_names == ["caption.language_confidence"] and one.column(0).equals(whole["caption.language_confidence"])
    assert (
        FUNCTION.compute(pa.table({"caption": pa.array([None, None], pa.string())})).to_pylist()
        == [dict.fromkeys(FUNCTION.fields.names)] * 2
    )
    assert FUNCTION.compute(pa.table({"caption": pa.array([], pa.string())})).num_rows == 0
