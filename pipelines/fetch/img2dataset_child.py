"""The process in which img2dataset downloads, started by img2dataset_fetcher.

A process of its own, because img2dataset sends the whole process's stdout and stderr away around every image, and its urllib opener is the
process's too. It is told what to ask for on stdin, and answers on the descriptor that `main` is given, both as pickles.

img2dataset's own Downloader asks for the urls, hands each body on as it came, and calls our sample writer, which does what has to come before
an image is looked at, lists of bytes and claims first, and then has img2dataset's own Resizer convert it.
"""

import io
import os
import pickle
import queue
import sys
import threading
import traceback
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
from img2dataset.downloader import Downloader
from img2dataset.resizer import Resizer

from pipelines.fetch.client import Fetched
from pipelines.fetch.img2dataset_messages import Broken, Done, GivenBack, Looking, Round, Told
from pipelines.fetch.img2dataset_opener import Asked, Opener, number_of, turn_url
from pipelines.fetch.settings import FetchSettings
from pipelines.fetch.store import Readers, exif_json, stored_as_claimed
from pipelines.sources.img2dataset import failure_of
from quality.block_lists import BlockLists, lists_here
from quality.images.header import read_header
from schemas.store import open_store

_FORMATS: Final = {"jpeg": "jpg", "png": "png", "webp": "webp"}  # ours: img2dataset's


class _Worker:
    def __init__(self, settings: FetchSettings, lists: BlockLists, out: BinaryIO):
        self.settings, self.lists, self._out = settings, lists, out
        self.gate = replace(settings, store="original", target=None, evidence=False, trust_anchors=None)
        self.readers, self.opener, self.round = Readers(settings), Opener(settings), Round((), {}, 0.0, None)
        target = settings.target
        self.resizer = None if target is None else Resizer(
            image_size=target.size or 0, resize_mode=target.resize, resize_only_if_bigger=not target.enlarge,
            encode_quality=target.quality, encode_format=_FORMATS[target.format],
        )  # fmt: skip
        urllib.request.install_opener(self.opener)  # type: ignore[arg-type]  # urlopen asks it for nothing but `open`

    def say(self, message: Looking | Told | GivenBack | Broken | Done) -> None:
        pickle.dump(message, self._out)
        self._out.flush()

    def run(self, asked: Round, folder: Path) -> None:
        """One round of img2dataset's Downloader, as its reader would hand it a shard."""
        self.round = asked
        self.opener.begin([each.url for each in asked.asking], asked.delays, seconds=asked.seconds, others_s=asked.others_s)
        table = pa.table({"url": [turn_url(number) for number in range(len(asked.asking))]})
        shard = folder / "shard.arrow"
        with pa.OSFile(str(shard), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        Downloader(
            sample_writer_class=lambda *_: _SampleWriter(self),
            resizer=Resizer(image_size=0, resize_mode="no", resize_only_if_bigger=False, disable_all_reencoding=True),
            thread_count=min(self.settings.connections, len(asked.asking)),
            save_caption=False,
            extract_exif=False,
            output_folder=str(folder),
            column_list=["url"],
            timeout=self.settings.image_timeout_s,
            number_sample_per_shard=max(2, len(asked.asking)),
            oom_shard_count=1,
            compute_hash=None,
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,  # it would ask again at once, and for a 404 too; rounds ask again as our own engine does
            user_agent_token=None,
            disallowed_header_directives=None,  # the opener reads all opt-outs, not X-Robots-Tag alone
        ).download_shard((0, str(shard)))
        self.say(Done())

    def take(self, place: int, asked: Asked, data: bytes) -> None:
        """What becomes of a body, and says so."""
        each = self.round.asking[place]
        self.say(Looking(each.number))
        signals = {**each.signals, **asked.answer.signals}
        found = stored_as_claimed(
            data, each.claims, self.gate, self.lists, final_url=each.url, readers=self.readers, signals=signals
        )  # fmt: skip
        outcomes, kept = [outcome for outcome, _ in found], next((kept for _, kept in found if kept is not None), None)
        if kept is not None and self.resizer is not None:
            kept, changes = self._convert(kept)
            outcomes = [replace(outcome, **changes) if outcome.status == "success" else outcome for outcome in outcomes]
        light = Fetched(b"", signals, asked.answer.received)
        self.say(Told(each.number, replace(asked, answer=light), outcomes, kept))

    def _convert(self, data: bytes) -> tuple[bytes | None, dict[str, Any]]:
        """The bytes as img2dataset's Resizer makes them, and what an outcome then says; None where it cannot."""
        assert self.resizer is not None
        evidence = None
        if self.readers.evidence is not None:
            try:
                evidence = self.readers.evidence.read(data)
            except Exception as error:  # as in store.stored: the row pays for it and not the unit
                return None, _lost("failed_to_resize", f"evidence: {type(error).__name__}")
        image, *_, why = self.resizer(io.BytesIO(data))
        header = None if image is None else read_header(image)
        if image is None or header is None:
            status, message = failure_of("failed_to_resize", why or "Image decoding error") or ("failed_to_resize", "undecodable")
            return None, _lost(status, message)
        return image, {
            "width": header.width, "height": header.height, "format": header.format, "size": len(image), "exif": exif_json(data),
            "evidence": evidence,
        }  # fmt: skip

    def skip(self, place: int, asked: Asked | None) -> None:
        """Says of a url that gave no body what it gave."""
        number = self.round.asking[place].number
        if asked is None:
            self.say(GivenBack(number))
        elif not isinstance(asked.answer, Fetched):
            self.say(Told(number, asked))


def _lost(status: str, message: str) -> dict[str, Any]:
    return {"status": status, "error_message": message, "size": None}


class _SampleWriter:
    """What img2dataset calls for every url, in one thread, as it does its own writers."""

    def __init__(self, worker: _Worker):
        self._worker = worker

    def write(self, image: bytes | None, key: str, caption: str | None, meta: Mapping[str, Any]) -> None:
        try:
            told = self._worker.opener.told(number_of(meta["url"]))
            if told is None:
                return
            place, asked = told
            if image is None or asked is None:
                self._worker.skip(place, asked)
            else:
                self._worker.take(place, asked, image)
        except Exception:  # img2dataset would print it, and lose the row
            self._worker.say(Broken(traceback.format_exc()))
            os._exit(1)

    def close(self) -> None:
        pass


def main(out: int) -> None:
    """Runs rounds until stdin ends; the process ends at once with it, in the middle of a round too."""
    rounds: queue.SimpleQueue[Round] = queue.SimpleQueue()
    settings, digest, dataset, folder = pickle.load(sys.stdin.buffer)  # the folder is the parent's, who removes it however we end

    def listen() -> None:
        while True:
            try:
                rounds.put(pickle.load(sys.stdin.buffer))
            except EOFError:
                os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    with os.fdopen(out, "wb") as file:
        worker = _Worker(settings, lists_here(digest, None if dataset is None else open_store(dataset)), file)
        worker.say(Done())  # with starting
        while True:
            try:
                worker.run(rounds.get(), Path(folder))
            except Exception:
                worker.say(Broken(traceback.format_exc()))
