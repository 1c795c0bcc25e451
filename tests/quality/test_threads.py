"""Threads of a process that scores."""

import json
import os
import subprocess
import sys

from quality.engines.threads import threads_of_process


def test_cores_are_shared_among_processes(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert [threads_of_process(count) for count in (1, 2, 16, 64)] == [16, 8, 1, 1]


def test_every_pool_is_bounded():
    code = (
        "import os; os.cpu_count = lambda: 8\n"
        "from quality.engines.threads import bound_threads; bound_threads(2)\n"
        "import json, os, cv2, numpy, pyarrow, threadpoolctl, torch\n"
        "pools = {found['filepath'].rpartition('/')[2]: found['num_threads'] for found in threadpoolctl.threadpool_info()}\n"
        "print(json.dumps([pools, torch.get_num_threads(), cv2.getNumThreads(), pyarrow.cpu_count(), pyarrow.io_thread_count(),\n"
        "    os.environ['RAYON_NUM_THREADS'], os.environ['TOKIO_WORKER_THREADS']]))"
    )
    given = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given).stdout
    pools, *others = json.loads(out)
    assert any("openblas" in name for name in pools) and set(pools.values()) == {1}
    assert others == [1, 1, 2, 2, "1", "1"]
