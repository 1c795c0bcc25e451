"""The order of training: every sample once an epoch, in batches of one shape, the same on any number of ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.order import Order, Shape, nearest_shapes, shapes_of


def uids(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 2), dtype=np.uint64)


def test_shapes_have_at_most_the_area_and_the_aspect_that_is_allowed():
    shapes = shapes_of(64, multiple=8, largest_aspect=2.0)
    assert Shape(64, 64) in shapes
    assert all(shape.width * shape.height <= 64 * 64 for shape in shapes)
    assert all(shape.width % 8 == shape.height % 8 == 0 for shape in shapes)
    assert all(0.5 <= shape.aspect <= 2 for shape in shapes)
    assert [shape.aspect for shape in shapes] == sorted(shape.aspect for shape in shapes)
    assert {Shape(shape.height, shape.width) for shape in shapes} >= {Shape(88, 40), Shape(40, 88)} & set(shapes)
    assert shapes_of(64, largest_aspect=1.0) == (Shape(64, 64),)


def test_a_size_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="size 60 is no multiple of 8"):
        shapes_of(60)


def test_images_get_the_shape_of_the_nearest_aspect():
    shapes = (Shape(40, 80), Shape(64, 64), Shape(80, 40))
    chosen = nearest_shapes(np.array([100, 300, 300, 1, 0]), np.array([100, 100, 290, 100, 5]), shapes)
    assert chosen.tolist() == [1, 2, 1, 0, 0]


def test_a_shape_with_too_few_images_gives_them_to_its_neighbour():
    shapes = (Shape(40, 80), Shape(64, 64), Shape(80, 40))
    width, height = np.array([100] * 8 + [300] * 2 + [100] * 4), np.array([100] * 8 + [100] * 2 + [300] * 4)
    assert np.bincount(nearest_shapes(width, height, shapes, least=4), minlength=3).tolist() == [4, 10, 0]
    # None has enough: all end in one.
    assert len(set(nearest_shapes(width, height, shapes, least=100).tolist())) == 1


@settings(deadline=None, max_examples=60)
@given(count=st.integers(8, 200), batch=st.integers(1, 4), ranks=st.integers(1, 2), shapes=st.integers(1, 4), seed=st.integers(0, 9))
def test_an_epoch_has_each_sample_at_most_once_and_leaves_out_less_than_a_batch_of_each_shape(count, batch, ranks, shapes, seed):
    shape = np.random.default_rng(count).integers(0, shapes, count).astype(np.int16)
    if np.bincount(shape).max() < batch * ranks:
        with pytest.raises(ValueError, match="do not fill one batch"):
            Order(uids(count), shape, batch=batch, ranks=ranks, seed=seed)
        return
    plan = Order(uids(count), shape, batch=batch, ranks=ranks, seed=seed).epoch(3)
    seen = plan.samples.ravel()
    assert len(set(seen.tolist())) == len(seen) == count - plan.left_out
    assert plan.samples.shape == (len(plan.shape), batch * ranks)
    assert (shape[plan.samples] == plan.shape[:, None]).all()
    left = np.bincount(shape, minlength=shapes) - np.bincount(shape[seen], minlength=shapes)
    assert (left < batch * ranks).all()


def test_epochs_and_seeds_differ_and_the_same_epoch_is_the_same():
    order, other = (Order(uids(100), np.zeros(100, np.int16), batch=10, seed=seed) for seed in (1, 2))
    epochs = [order.epoch(0), order.epoch(1), order.epoch(2), other.epoch(0), other.epoch(1)]
    assert len({plan.samples.tobytes() for plan in epochs}) == 5
    assert (order.epoch(1).samples == epochs[1].samples).all()


def test_the_order_follows_from_uids_and_not_from_where_samples_lie():
    names = uids(50)
    moved = np.random.default_rng(1).permutation(50)
    here = Order(names, np.zeros(50, np.int16), batch=5).epoch(0).samples
    there = Order(names[moved], np.zeros(50, np.int16), batch=5).epoch(0).samples
    assert (moved[there] == here).all()


def test_weights_say_how_often_a_sample_is_seen():
    weights = np.array([0.0, 1.0, 3.0, 0.5] * 100, np.float32)
    order = Order(uids(400), np.zeros(400, np.int16), batch=1, weights=weights)
    counts = np.bincount(order.epoch(0).samples.ravel(), minlength=400).reshape(-1, 4)
    assert set(counts[:, 0]) == {0}
    assert set(counts[:, 1]) == {1}
    assert set(counts[:, 2]) == {3}
    assert set(counts[:, 3]) == {0, 1}
    assert 30 <= counts[:, 3].sum() <= 70
    again = np.bincount(order.epoch(1).samples.ravel(), minlength=400).reshape(-1, 4)
    assert (again[:, 3] != counts[:, 3]).any(), "in another epoch others of weight one half are seen"
    # Copies of a sample do not stand beside each other.
    places = order.epoch(0).samples.ravel()
    assert (places[1:] == places[:-1]).mean() < 0.05


def test_weights_that_fill_no_batch_of_any_shape_are_told():
    """Ten in all and a batch of eight, but five of each shape."""
    with pytest.raises(ValueError, match="2 samples with their weights do not fill one batch of 8"):
        Order(uids(2), np.array([0, 1], np.int16), batch=8, weights=np.array([5, 5], np.float32))
    with pytest.raises(ValueError, match="do not fill"):
        Order(uids(10), np.zeros(10, np.int16), batch=8, weights=np.full(10, 0.5, np.float32))


def test_too_few_samples_are_told():
    with pytest.raises(ValueError, match="7 samples do not fill one batch of 4 on 2 ranks"):
        Order(uids(7), np.zeros(7, np.int16), batch=4, ranks=2)
