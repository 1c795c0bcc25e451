"""What is noted of units that somebody is at work on."""

from schemas.attempts import FETCH, Attempts
from schemas.store import Store


def test_attempts_count_until_one_ends(tmp_path):
    attempts = Attempts(Store(tmp_path))
    assert attempts.noted() == {}
    assert [attempts.begin(FETCH, "u0-00000") for _ in range(3)] == [0, 1, 2]
    assert attempts.begin("image+clip-1a2b3c4d", "u0-00000") == 0
    assert attempts.noted() == {"fetch/u0-00000": 3, "image+clip-1a2b3c4d/u0-00000": 1}
    attempts.end(FETCH, "u0-00000")
    attempts.end(FETCH, "u0-00001")  # never begun
    assert attempts.begin(FETCH, "u0-00000") == 0


def test_an_interrupted_run_says_nothing_about_its_units(tmp_path):
    attempts = Attempts(Store(tmp_path))
    attempts.begin(FETCH, "u0-00000")
    before = attempts.noted()
    for unit in ("u0-00000", "u0-00001"):
        attempts.begin(FETCH, unit)
    attempts.put_back(before)
    assert attempts.noted() == before == {"fetch/u0-00000": 1}
