"""Runs forget in children that are killed: `python -m tests.forget_driver`, one JSON line in, one out. Imports are done once, so that a kill
lands in the work. In: [root, ids, seconds until SIGKILL or null]. Out: [exit code or null, seconds]."""

import json
import os
import signal
import sys
import time

import numpy as np

from quality.near.listed import NearList
from quality.traces.views import picture_of
from tests.forgetting import forget_quickly, picture


def main() -> None:
    assert picture_of(picture(0)) is not None and NearList(np.zeros((1, 32), np.uint8)).near(np.zeros((1, 32), np.uint8))  # compiled code
    for line in sys.stdin:
        root, ids, limit = json.loads(line)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(forget_quickly(root, ids))
        done, status = 0, 0
        while not done and (limit is None or time.monotonic() - began < limit):
            done, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
        if not done:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status) if done else None
        print(json.dumps([code, time.monotonic() - began]), flush=True)


if __name__ == "__main__":
    main()
