"""The pool's job: what it says, and refuses, before anything is written."""

import pytest

from pipelines.flags import parser
from pipelines.ingest import deferred_text
from pipelines.options import UsageError
from pipelines.pool_job import RESIZED_UNREAD, PoolJob, open_pool_job
from pipelines.sources.listing import list_source
from pipelines.sources.rows import index_file
from quality.evidence.manifest import read_anchors
from quality.evidence.original import model_of
from quality.scorers.evidence import StoredEvidence
from schemas.follow_ups import FollowUp, put_follow_up
from schemas.pool import Pool
from tests.scoring import SAMPLE
from tests.tars import sample, write_tar
from tests.trust.labelled import trust_list
from tests.trust.made import chain

ONCE = "read once, while they are fetched, {}, and cannot be read again"


def opened(dataset, *flags: object) -> PoolJob:
    args, _ = parser().parse_with_beam(["--dataset", str(dataset), *map(str, flags)])
    return open_pool_job(args)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def trust(tmp_path):
    return trust_list(tmp_path)


@pytest.fixture
def other_trust(tmp_path):
    path = tmp_path / "other.pem"
    path.write_text(chain("Stranger")[2])
    return path


FETCH = ("--source", SAMPLE, "--scorers", "evidence", "--store")
SCORE = ("--start_at", "score", "--scorers", "evidence")


def test_a_pool_that_keeps_the_bytes_reads_evidence_when_it_scores(data, trust):
    job = opened(data, *FETCH, "original", "--c2pa_trust", trust)
    assert "note" not in job.headline() and not job.fetch.evidence and job.fetch.trust_anchors is None
    assert job.scorers[0].version.startswith(model_of(read_anchors(trust)) + "@")
    assert "evidence" not in Pool(data).settings("source")["fetch"]


@pytest.mark.parametrize("listed", [False, True])
def test_a_resized_pool_reads_evidence_when_it_fetches(data, trust, listed):
    flags = ("--c2pa_trust", trust) if listed else ()
    model = model_of(read_anchors(trust) if listed else None)
    job = opened(data, *FETCH, "resized", *flags)
    assert job.fetch.evidence and (job.fetch.trust_anchors is not None) is listed
    assert job.fetch.identity()["evidence"] == model == Pool(data).settings("source")["fetch"]["evidence"]
    again = opened(data, *SCORE)  # without the flag: it was read with the list, whatever is given now
    for one in (job, again):
        assert ONCE.format(f"with the C2PA trust list {model[-8:]}" if listed else "trusting no signer") in one.headline()
        assert isinstance(one.scorers[0], StoredEvidence) and one.scorers[0].version == f"{model}@read when fetched;1"
    assert len(Pool(data).passes()) == 1


def test_deepfake_says_which_evidence_it_read(data, trust):
    def version(*flags: object) -> str:
        return opened(*flags, "--scorers", "image,faces,evidence,deepfake").scorers[-1].version

    versions = [
        version(data, "--source", SAMPLE),
        version(data.with_name("resized"), "--source", SAMPLE, "--store", "resized"),
        version(data.with_name("listed"), "--source", SAMPLE, "--store", "resized", "--c2pa_trust", trust),
    ]
    assert len(set(versions)) == 3


def test_another_trust_list_is_refused_once_evidence_was_read(data, trust, other_trust):
    opened(data, *FETCH, "resized", "--c2pa_trust", trust)
    with pytest.raises(
        UsageError, match=r"reads their evidence while it fetches, as metadata\+trust-\w{8}, not as metadata; give the --c2pa_trust"
    ):
        opened(data, *FETCH, "resized")
    with pytest.raises(UsageError, match=r"was read as metadata\+trust-\w{8}, and it cannot be read now as metadata\+trust-\w{8}; leave"):
        opened(data, *SCORE, "--c2pa_trust", other_trust)
    assert opened(data, *SCORE, "--c2pa_trust", trust).runs
    with pytest.raises(UsageError, match=r"missing\.pem is no file of certificates"):
        opened(data.with_name("new"), *FETCH, "resized", "--c2pa_trust", data.with_name("missing.pem"))
    assert not data.with_name("new").exists()


def test_a_list_for_fetching_needs_no_scorer(data, trust):
    """With bytes that are kept, only the scorer would read it."""
    assert opened(data, "--source", SAMPLE, "--scorers", "image", "--store", "resized", "--c2pa_trust", trust).fetch.trust_anchors
    with pytest.raises(UsageError, match="--c2pa_trust is read by evidence and deepfake, and --scorers leaves that out"):
        opened(data.with_name("kept"), "--source", SAMPLE, "--scorers", "image", "--c2pa_trust", trust)


def test_a_resized_pool_from_before_goes_on_as_it_was_begun(data, trust):
    job = opened(data, *FETCH, "resized")
    old = {name: value for name, value in job.fetch.identity().items() if name != "evidence"}
    Pool(data).replace_settings("source", {**Pool(data).settings("source"), "fetch": old})
    again = opened(data, *FETCH, "resized")
    assert not again.fetch.evidence and again.fetch.identity() == old, "units would be made from another input"
    assert RESIZED_UNREAD in again.headline() and again.scorers[0].version == "unread@read when fetched;1"
    with pytest.raises(UsageError, match="their evidence was not read, and it cannot be read now"):
        opened(data, *SCORE, "--c2pa_trust", trust)


@pytest.mark.parametrize("turned", [False, True])
def test_a_dataset_of_a_url_list_and_tars_goes_on_without_naming_a_source(tmp_path, data, turned):
    both = tmp_path / "both"
    both.mkdir()
    (both / "pairs.csv").write_text("url,caption\nhttp://a.test/0,n 0\n")
    write_tar(both / "a.tar", sample("0", 1))
    flags = ("--stop_after", "fetch", "--contact", "me@example.org")
    for spec in (both / "*", f"{both}/*.*"):
        with pytest.raises(UsageError, match="mixes url lists and file lists; ingest them as two sources"):
            opened(data, "--source", spec, *flags)
    assert not data.exists()
    for source in sorted(["pairs.csv", "a.tar"], reverse=turned):
        assert len(opened(data, "--source", both / source, "--add_source", *flags).entries) == 1
    assert sorted(entry.path for entry in opened(data, *flags).entries) == ["a.tar", "pairs.csv"]
    with pytest.raises(UsageError, match="mixes url lists"):
        opened(data, "--source", both / "*", "--add_source", *flags)


def test_units_that_are_not_there_are_told_by_what_kept_them(tmp_path, data):
    """Hosts are not to blame for units that nobody has asked for: of another source, or a follow-up that is planned."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(f"url,caption\nhttp://{name}.test/0,n 0\n")
    flags = ["--dataset", str(data), "--stop_after", "fetch", "--contact", "me@example.org"]

    def told(*more: str) -> list[str]:
        args, _ = parser().parse_with_beam([*flags, *more])
        job = open_pool_job(args)
        return deferred_text(job, job.deferred(), args).splitlines()

    one = ("--source", str(tmp_path / "one.csv"))
    pool = opened(*flags[1:], *one).pool
    (unit,) = index_file(pool, list_source(one[1], {})[0], unit_size=100).units
    pool.defer(unit, 1, "all rows failed: connect 1")
    silent = "1 units (1 pairs) were deferred: the network was down, or nothing of them came in time."
    again = "Run the same command again to fetch them; nothing that is done is done twice. To publish without them: --allow_missing"
    assert told(*one) == [silent, again]
    opened(*flags[1:], "--source", tmp_path / "two.csv", "--add_source")
    (entry,) = list_source(str(tmp_path / "two.csv"), {})
    (other,) = index_file(pool, entry, unit_size=100).units
    put_follow_up(pool, FollowUp(f"{other}.r1", other, 1, (0,)))
    assert told() == [silent, "2 units (2 pairs) are not fetched yet.", again]
    assert told(*one)[1:] == ["2 units (2 pairs) are not fetched yet.", again.replace("again", "again, without --source,")]
    pool.undefer(unit)
    assert told() == ["3 units (3 pairs) are not fetched yet.", again]
