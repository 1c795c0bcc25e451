"""Splits: pinned, of the right size, and one for all that shows the same thing."""

from collections import Counter

import pytest

from training.splits import SPLITS, concept_of_emoji, concept_of_title, split_of


@pytest.mark.parametrize(
    ("concept", "split"),
    [
        ("1f600", "train"),  # grinning face
        ("2764", "validation"),  # red heart
        ("263a", "heldout"),  # smiling face
        ("1f9d1-200d-1f680", "heldout"),  # astronaut
        ("1f1f0-1f1f7", "train"),  # flag: South Korea
        ("broad dagger", "train"),
        ("dog", "validation"),
        ("폴더", "validation"),
    ],
)
def test_a_concepts_split_never_changes(concept, split):
    assert split_of(concept) == split


def test_proportions_are_eight_one_one():
    counts = Counter(split_of(f"concept {number}") for number in range(20_000))
    assert set(counts) == set(SPLITS)
    assert abs(counts["train"] / 20_000 - 0.8) < 0.01
    assert abs(counts["validation"] / 20_000 - 0.1) < 0.01
    assert abs(counts["heldout"] / 20_000 - 0.1) < 0.01


def test_an_empty_concept_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        split_of("")


@pytest.mark.parametrize(
    ("codepoints", "concept"),
    [
        ("1f600", "1f600"),
        ("1F600-FE0F", "1f600"),
        ("263a_fe0f", "263a"),
        ([0x1F44B, 0x1F3FD], "1f44b"),  # waving hand: medium skin tone
        ("1f3c3-1f3ff-200d-2640-fe0f-200d-27a1-fe0f", "1f3c3"),  # woman running facing right: dark skin tone
        ("1f468-1f3fb-200d-1f680", "1f9d1-200d-1f680"),  # man astronaut: light skin tone
        ("1f469-200d-1f680", "1f9d1-200d-1f680"),
        ("1f469", "1f469"),  # a woman alone stays a woman
        ("1f1f0-1f1f7", "1f1f0-1f1f7"),
        ("2640-fe0f", "2640"),  # the sign itself
        ("1f3fd", "1f3fd"),  # the swatch itself
        ("27a1-fe0f", "27a1"),
    ],
)
def test_variants_of_an_emoji_share_its_concept(codepoints, concept):
    assert concept_of_emoji(codepoints) == concept


@pytest.mark.parametrize(
    ("title", "concept"),
    [
        ("Arrow 02", "arrow"),
        ("arrow_2b", "arrow b"),
        ("  Broad-Dagger ", "broad dagger"),
        ("Ｆｕｌｌ width", "full width"),
        ("Part of the Flat Icon Collection (Wed Aug 25 23:29:46 2004)", "part of the flat icon collection wed aug"),
        ("사과 3", "사과"),
        ("007", "007"),
    ],
)
def test_numbered_titles_share_a_concept(title, concept):
    assert concept_of_title(title) == concept
