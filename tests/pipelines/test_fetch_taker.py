"""An image that hangs in the process that fetches: it ends, where no other thread could end it."""

import signal
import subprocess
import sys

from tests.conftest import ROOT

HANGS = """
import time
from pipelines.fetch import store, taker
from tests.pipelines.fetching import NO_LISTS, settings
from tests.tars import shot
taker.SECONDS, taker.LOOK_S = 1.0, 0.1
whole, hangs = taker.stored_as_claimed, {hangs!r}

def stored_as_claimed(data, *args, **more):
    time.sleep(hangs if data == shot(3) else 0.3)
    return whole(data, *args, **more)

taker.stored_as_claimed = stored_as_claimed
one = taker.Taker(settings(), NO_LISTS)
for number in range(5):  # more than a second in all
    [(outcome, _)] = one.take(shot(number), [None], None, {{}}, apart=False, unit=7)
    print(outcome.status, flush=True)
time.sleep(1.5)  # idle
"""


def run(hangs: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", HANGS.format(hangs=hangs)], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_an_image_that_hangs_ends_the_process():
    process = run(60.0)
    assert (process.returncode, process.stdout.split()) == (-signal.SIGABRT, ["success"] * 3)
    assert "an image of unit 7 of this process takes more than 1 s to read; the process ends" in process.stderr


def test_images_that_end_do_not_add_up():
    process = run(0.3)
    assert (process.returncode, process.stdout.split()) == (0, ["success"] * 5), process.stderr
