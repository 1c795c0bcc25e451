"""Batches of images and captions from a release, in a shuffled order that is the same after any stop, with any number of workers.

    from training.releases import open_release
    from training.shards import Loader

    loader = Loader(open_release("pigment-data"), size=64, batch=32, seed=1)
    for batch in loader:  # without end; batch.epoch says where it is
        train_on(batch.images, batch.captions)
        save(loader.state())  # loader.restore(state) goes on with the batch after this one

Samples are read through the shards' indexes at random places; the other way, whole tars one after the other, is `webdataset_of`.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
import torch
import webdataset as wds

from schemas.release import ReleaseError
from training.order import Order, Shape, nearest_shapes, shapes_of
from training.pictures import Cut, picture
from training.releases import TrainingSet

_OPEN_TARS: Final = 64  # at a time; an open one costs an address range and no memory of ours
_AHEAD: Final = 4  # batches
_TASK: Final = 8  # images decoded by one task of a thread


@dataclass(frozen=True)
class Batch:
    """images: (n, 3, height, width) uint8. cuts: what each image shows. epoch, step: its place, from 0."""

    images: torch.Tensor
    captions: Sequence[str]
    uids: Sequence[str]
    cuts: Sequence[Cut]
    epoch: int
    step: int


def batches_ahead(device: str) -> int:
    """How many batches to make before they are asked for, for steps on a "cuda" or a "cpu": there none. A step has all cores of a CPU busy, and
    a decoder that takes one of them keeps the step's other threads waiting: that costs more than to decode between steps (tests.bench.step)."""
    return 0 if device == "cpu" else _AHEAD


class Loader:
    """Endless batches of one rank.

    size: the square whose area images get, in pixels. multiple, largest_aspect: of the shapes, see shapes_of; largest_aspect 1: squares
    alone. batch: images of this rank in a step; all ranks get the same shape in a step, and different samples. seed: of the order.
    threads: decoders. ahead: batches made before they are asked for. jitter: whether the window that is shown moves from epoch to epoch.
    Raises ValueError when there are fewer samples than one batch.
    """

    def __init__(
        self,
        training: TrainingSet,
        *,
        size: int,
        batch: int,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        multiple: int = 8,
        largest_aspect: float = 2.0,
        threads: int = 2,
        ahead: int = _AHEAD,
        jitter: bool = False,
    ):
        if not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} of {ranks}: ranks count from 0")
        self.training, self.rank, self.threads, self.ahead, self.jitter = training, rank, threads, ahead, jitter
        samples = training.samples
        self.shapes = shapes_of(size, multiple=multiple, largest_aspect=largest_aspect)
        shape = nearest_shapes(samples.width, samples.height, self.shapes, least=batch * ranks)
        self.order = Order(samples.uid, shape, batch=batch, ranks=ranks, seed=seed, weights=samples.weights)
        self.epoch, self.step = 0, 0
        self._tars = _Tars(training)

    def state(self) -> dict[str, int]:
        """Where the next batch is."""
        return {"epoch": self.epoch, "step": self.step}

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on at a place that :meth:`state` told; iterators that run are not moved."""
        self.epoch, self.step = state["epoch"], state["step"]

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(self.threads, thread_name_prefix="decode") as decoders:
            made: deque[tuple[_Making, list[Future]]] = deque()
            try:
                for making in self._places():
                    made.append((making, making.start(decoders)))
                    if len(made) > self.ahead:
                        yield self._finished(*made.popleft())
            finally:
                for _, tasks in made:
                    for task in tasks:
                        task.cancel()

    def _places(self) -> Iterator["_Making"]:
        epoch, first = self.epoch, self.step
        while True:
            plan = self.order.epoch(epoch)
            own = slice(self.rank * self.order.batch, (self.rank + 1) * self.order.batch)
            for step in range(first, len(plan.shape)):
                yield _Making(self, plan.samples[step, own], self.shapes[plan.shape[step]], epoch, step, step + 1 == len(plan.shape))
            epoch, first = epoch + 1, 0

    def _finished(self, making: "_Making", tasks: Sequence[Future]) -> Batch:
        batch = making.finish(tasks)
        self.epoch, self.step = (making.epoch + 1, 0) if making.last else (making.epoch, making.step + 1)
        return batch


class _Making:
    """A batch that is being decoded."""

    def __init__(self, loader: Loader, samples: np.ndarray, shape: Shape, epoch: int, step: int, last: bool):
        self.loader, self.samples, self.shape, self.epoch, self.step, self.last = loader, samples, shape, epoch, step, last
        self.pixels = np.empty((len(samples), 3, shape.height, shape.width), np.uint8)

    def start(self, decoders: ThreadPoolExecutor) -> list[Future]:
        return [decoders.submit(self._decode, start) for start in range(0, len(self.samples), _TASK)]

    def _decode(self, start: int) -> list[Cut]:
        return [self._one(place) for place in range(start, min(start + _TASK, len(self.samples)))]

    def _one(self, place: int) -> Cut:
        training, samples, sample = self.loader.training, self.loader.training.samples, int(self.samples[place])
        data = self.loader._tars.read(int(samples.shard[sample]), int(samples.offset[sample]), int(samples.size[sample]))
        try:
            pixels, cut = picture(data, int(samples.width[sample]), int(samples.height[sample]), self.shape, place=self._window(sample))
        except ValueError as error:
            tar = training.release.store.path_of(training.tar(int(samples.shard[sample])))
            raise ReleaseError(f"{tar}: the image of {samples.uid_of(sample)} cannot be decoded ({error}); the shard is damaged") from error
        self.pixels[place] = pixels.transpose(2, 0, 1)
        return cut

    def _window(self, sample: int) -> tuple[float, float]:
        return self.loader.order.chance(self.epoch, sample) if self.loader.jitter else (0.5, 0.5)

    def finish(self, tasks: Sequence[Future]) -> Batch:
        samples = self.loader.training.samples
        cuts = [cut for task in tasks for cut in task.result()]
        captions = [samples.captions[sample].as_py() for sample in self.samples.tolist()]
        uids = [samples.uid_of(sample) for sample in self.samples.tolist()]
        return Batch(torch.from_numpy(self.pixels), captions, uids, cuts, self.epoch, self.step)


class _Tars:
    """Reads at (offset, size) of shards; keeps the last few open where they are files."""

    def __init__(self, training: TrainingSet):
        self.training = training
        self._files: OrderedDict[int, Any] = OrderedDict()
        self._lock = Lock()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        try:
            return self._read(shard, offset, size)
        except FileNotFoundError:
            self.training.release.manifest()  # raises where pairs were removed meanwhile, and names the successor
            raise

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        store = self.training.release.store
        if store.local is None:
            return store.read_ranges(self.training.tar(shard), [(offset, size)])[0]
        with self._lock:
            file = self._files.pop(shard, None)
            if file is None:
                file = store.open(self.training.tar(shard))
            self._files[shard] = file
            if len(self._files) > _OPEN_TARS:
                self._files.popitem(last=False)  # closed when its last reader lets go
        end = offset + size
        if file.size() < end:
            tar = store.path_of(self.training.tar(shard))
            raise ReleaseError(f"{tar} ends before byte {end}: it was cut; restore it")
        return file.read_at(size, offset)


def webdataset_of(training: TrainingSet, *, shuffle: int = 1000, seed: int = 0) -> wds.WebDataset:
    """The release by plain webdataset: shards in a shuffled order, one after the other, samples shuffled in a buffer of `shuffle`.

    Gives dicts with `image` (PIL), `txt` and `json`. Neither the order nor a stop can be repeated with other workers: see Loader.
    """
    paths = [training.release.store.path_of(training.tar(shard["shard"])) for shard in training.manifest["shards"]]
    rows = wds.WebDataset(
        paths, shardshuffle=len(paths) if shuffle else False, nodesplitter=wds.split_by_node, seed=seed, empty_check=False
    )
    if shuffle:
        rows = rows.shuffle(shuffle, seed=seed)
    return rows.decode("pil").rename(image="jpg;png;webp", keep=True)
