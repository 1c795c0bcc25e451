"""One engine for all steps of a process that fetch with the same settings."""

import atexit
import threading

from pipelines.fetch.loop import Engine
from pipelines.fetch.origins import HostRules
from pipelines.fetch.settings import FetchSettings
from quality.block_lists import BlockLists
from schemas.pool import Pool

_engines: dict[tuple[FetchSettings, str | None, int, str], tuple[Engine, int]] = {}
_engines_lock = threading.Lock()


def acquire(settings: FetchSettings, lists: BlockLists, pool: Pool, *, threads: int) -> Engine:
    """The process's engine for these settings, block lists and pool, made when first asked for; :func:`release` it."""
    key = (settings, lists.digest, threads, pool.store.root)
    with _engines_lock:
        engine, users = _engines.get(key, (None, 0))
        if engine is None:
            engine = Engine(settings, lists, threads=threads, hosts=HostRules(pool, settings.agent))
        _engines[key] = engine, users + 1
        return engine


def release(engine: Engine) -> None:
    """Gives the engine back; the last one closes it."""
    with _engines_lock:
        for key, (known, users) in list(_engines.items()):
            if known is engine:
                if users > 1:
                    _engines[key] = engine, users - 1
                    return
                del _engines[key]
                break
        else:
            return
    engine.close()


@atexit.register
def _close_all() -> None:
    """For processes that end without a teardown of their steps: leaves no temporary file."""
    for engine, _ in _engines.values():
        engine.close()
