"""Faces: a face drawn here for the geometry, photographs from packages where these are installed."""

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.scorers.batch import PairBatch
from quality.scorers.faces import SAME_FACE, Faces, letterboxed, merged
from tests.conftest import SOAK
from tests.scoring import drawn_pairs, encoded, sample_pairs
from tests.trust.photographs import PHOTOGRAPHS

SKIN, HAIR, DARK, LIPS, GREY = (224, 172, 138), (70, 45, 30), (40, 25, 20), (170, 70, 70), (120, 130, 140)


def face(canvas: np.ndarray, middle: tuple[int, int], size: int) -> None:
    """Draws a face, `size` pixels from brow to chin, with shaded cheeks; no person's."""
    x, y = middle

    def oval(at, axes, colour, last=360):
        centre = (x + round(at[0] * size), y + round(at[1] * size))
        cv2.ellipse(canvas, centre, tuple(max(1, round(axis * size)) for axis in axes), 0, 0, last, colour, -1, cv2.LINE_AA)

    oval((0, -0.1), (0.58, 0.75), HAIR)
    oval((0, 0), (0.48, 0.66), SKIN)
    for side in (-1, 1):
        oval((side * 0.2, -0.1), (0.1, 0.05), (250, 250, 250))
        oval((side * 0.2, -0.1), (0.05, 0.05), DARK)
        oval((side * 0.2, -0.22), (0.13, 0.03), HAIR)
    oval((0, 0.12), (0.07, 0.05), (195, 140, 110))
    oval((0, 0.33), (0.17, 0.05), LIPS)
    blurred = cv2.GaussianBlur(canvas, (0, 0), max(0.5, size / 40))
    canvas[:] = blurred


def canvas_of(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


@pytest.fixture(scope="module")
def scorer() -> Faces:
    loaded = Faces()
    loaded.load()
    return loaded


def scored(scorer, *images):
    return scorer.score(
        PairBatch([None] * len(images), [None if image is None else encoded(image, ".png") for image in images])
    ).to_pylist()


@pytest.mark.parametrize(("height", "width", "middle"), [(400, 400, (200, 190)), (300, 900, (650, 140)), (900, 300, (140, 250))])
def test_a_face_is_found_where_it_is(scorer, height, width, middle):
    image = canvas_of(height, width)
    face(image, middle, 150)
    boxes, scores, best = scorer.detect(image)
    assert len(boxes) == 1 and best == pytest.approx(float(scores[0])) and best >= 0.8
    left, top, right, bottom = boxes[0] * [width, height, width, height]
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(middle, abs=25)
    assert right - left == pytest.approx(bottom - top, rel=0.1)  # MediaPipe's boxes are square
    assert 120 <= right - left <= 190
    (row,) = scored(scorer, image)
    assert row["largest_share"] == pytest.approx((right - left) * (bottom - top) / (width * height), abs=2e-4)
    assert row["count"] == 1


def test_two_faces_count_two_and_the_larger_counts(scorer):
    image = canvas_of(400, 640)
    face(image, (160, 200), 160)
    face(image, (480, 200), 120)
    boxes, scores, _ = scorer.detect(image)
    assert len(boxes) == 2 and scores[0] >= scores[1]
    shares = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    assert scored(scorer, image)[0]["largest_share"] == pytest.approx(shares.max(), abs=1e-4)
    assert sorted((boxes[:, 0] + boxes[:, 2]) / 2) == pytest.approx([0.25, 0.75], abs=0.05)


def test_no_face_has_a_score_and_no_share(scorer):
    plain, striped = canvas_of(300, 300), canvas_of(300, 300)
    striped[::8] = 255
    for row in scored(scorer, plain, striped):
        assert (row["count"], row["largest_share"]) == (0, 0) and 0 <= row["score"] < 0.5


def test_rows_without_pixels_are_null_and_move_nothing(scorer):
    image = canvas_of(300, 300)
    face(image, (150, 150), 120)
    (alone,) = scored(scorer, image)
    batch = PairBatch([None] * 4, [None, encoded(image, ".png"), b"junk", encoded(canvas_of(99, 99))])
    rows = scorer.score(batch).to_pylist()
    assert rows[1] == alone and rows[0] == rows[2] == dict.fromkeys(alone) and rows[3]["count"] == 0


def test_a_scorer_travels_unloaded_and_says_what_it_is(scorer):
    again = pickle.loads(pickle.dumps(scorer))
    again.load()
    batch = PairBatch(*zip(*drawn_pairs(".png")[:4], strict=True))
    assert again.score(batch).equals(scorer.score(batch))
    assert scorer.version.startswith("blazeface-short@3bc182eb;") and scorer.fields.names == ["count", "largest_share", "score"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (127, 128), (129, 4000)])
def test_odd_sizes(scorer, shape):
    (row,) = scored(scorer, canvas_of(*shape))
    assert row["count"] == 0 and row["score"] is not None


@pytest.mark.parametrize(("height", "width", "filled"), [(50, 100, (1, 0.5)), (300, 100, (43 / 128, 1)), (128, 128, (1, 1))])
def test_the_letterbox_keeps_the_proportions(height, width, filled):
    square, scale = letterboxed(np.full((height, width, 3), 255, np.uint8))
    assert scale == pytest.approx([*filled, *filled])
    white = (square[0] == 1).all(axis=2)
    assert white.sum() == round(filled[0] * 128) * round(filled[1] * 128) and set(np.unique(square)) <= {-1, 1}
    assert letterboxed(np.full((9, 9, 3), 51, np.uint8))[0] == pytest.approx(-0.6)
    rows, columns = white.any(axis=1).nonzero()[0], white.any(axis=0).nonzero()[0]
    assert abs(rows[0] - (127 - rows[-1])) <= 1 and abs(columns[0] - (127 - columns[-1])) <= 1


def test_boxes_of_one_face_become_their_weighted_mean():
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6], [0, 0, 1, 0.5]], np.float32)
    found, scores = merged(boxes, np.array([0.6, 0.9, 0.8], np.float32))
    assert found.tolist() == [pytest.approx([5, 5, 6, 6]), pytest.approx([0, 0, 1, (0.5 * 0.8 + 0.6) / 1.4])]
    assert scores.tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize(("width", "faces"), [(SAME_FACE + 1e-4, 1), (SAME_FACE - 1e-4, 2)])
def test_the_bound_of_one_face(width, faces):
    assert len(merged(np.array([[0, 0, 1, 1], [0, 0, width, 1]]), np.array([0.9, 0.8]))[0]) == faces


corners = st.tuples(*[st.floats(-1, 2, width=32)] * 4, st.floats(0.5, 1, width=32))


@settings(max_examples=2000 if SOAK else 60, deadline=None)
@given(st.lists(corners, max_size=12))
def test_merging_loses_no_best_box_and_ends(rows):
    boxes, scores = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4), np.array([row[4] for row in rows], np.float32)
    found, kept = merged(boxes, scores)
    assert len(found) == len(kept) <= len(rows) and (len(kept) > 0) == (len(rows) > 0)
    assert kept.tolist() == sorted(kept.tolist(), reverse=True) and set(kept.tolist()) <= set(scores.tolist())
    if rows:
        assert kept[0] == scores.max() and (found >= boxes.min(axis=0) - 1e-5).all() and (found <= boxes.max(axis=0) + 1e-5).all()


def test_drawings_of_the_sample_are_scored(scorer):
    """Clip art has faces and what passes for one; none of it may break the scorer."""
    rows = scorer.score(PairBatch(*zip(*sample_pairs(60), strict=True))).to_pylist()
    assert all((row["count"] > 0) == (row["score"] >= 0.5) == (row["largest_share"] > 0) for row in rows)


MIDDLES = {"astronaut.png": (0.44, 0.25), "camera.png": (0.43, 0.31), "grace_hopper.jpg": (0.52, 0.41)}  # shares of width and height
WRONG = {"flower.jpg": 1}  # a dahlia, at 0.55


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=[photograph.name for photograph in PHOTOGRAPHS])
def test_photographs(scorer, photograph):
    path = photograph.find()
    if path is None:
        pytest.skip(f"not run: the photograph comes in {photograph.package}, which is not installed")
    batch = PairBatch([None], [path.read_bytes()])
    assert scorer.score(batch).column("count").to_pylist() == [WRONG.get(photograph.name, photograph.faces)]
    if photograph.faces:
        boxes, _, _ = scorer.detect(batch.pixels()[0])
        assert (boxes[0, :2] + boxes[0, 2:]) / 2 == pytest.approx(MIDDLES[photograph.name], abs=0.03)
