"""A release's files: what is left of one that is cleared."""

import pytest

from schemas.release import Release
from schemas.reviews import SETTLED
from schemas.store import Store


def test_whoever_is_killed_while_clearing_leaves_what_says_that_it_must_be_cleared(tmp_path, monkeypatch):
    release = Release(tmp_path, "r")
    release.put_settled(SETTLED.empty_table())
    release.put_gates({})
    release.put_run({"digest": "old"})
    delete, gone = Store.delete, list[str]()

    def killed_after_two(store: Store, path: str) -> None:
        if len(gone) == 2:
            raise KeyboardInterrupt
        gone.append(path)
        delete(store, path)

    monkeypatch.setattr(Store, "delete", killed_after_two)
    with pytest.raises(KeyboardInterrupt):
        release.clear()
    assert release.run() == {"digest": "old"} and sorted(gone) == ["releases/r/gates.json", "releases/r/settled.parquet"]
    monkeypatch.undo()
    release.clear()
    assert release.run() is None and list(release.store.list("releases/r")) == []
