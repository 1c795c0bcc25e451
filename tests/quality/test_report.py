"""What the report says of a small dataset, and what it may not say."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from quality.block_lists import BlockLists
from quality.report.__main__ import main
from quality.report.gather import gather
from quality.report.images import thumbnails
from quality.report.model import Pair, Report
from quality.report.render import clean, render
from quality.report.scope import release_of, scope_of
from quality.report.words import REASON
from schemas.policy import parse_policy
from schemas.pool import Pool
from schemas.reasons import REASONS
from tests.answers import answers
from tests.pools import unit
from tests.releases import jpeg
from tests.reporting import GENEROUS, HOSTILE, PASS, POLICY, ROWS, SECRET, UNITS, caption_of, make_dataset, similarity
from tests.selecting import select

NOTHING = BlockLists({})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report") / "data"
    make_dataset(root, parent=GENEROUS)
    return root


@pytest.fixture(scope="module")
def report(root: Path) -> Report:
    return gather(scope_of(str(root), "now", pool_only=False), against=release_of(Pool(root), "before"), lists=NOTHING)


def decisions(root: Path, release: str = "now") -> list[dict]:
    found = release_of(Pool(root), release)
    return [row for unit in found.decided() for row in found.read_decisions(unit.unit).to_pylist()]


def everyone(report: Report) -> list[Pair]:
    """Every pair that the page shows, wherever."""
    found = [shown.pair for sheet in (*report.sheets.values(), *report.dropped) for shown in sheet.shown]
    found += [pair for histogram in report.histograms for _, pair in histogram.samples]
    found += [pair for twins in report.twins for pair in (twins.loser, twins.winner) if pair is not None]
    return found + [pair for move in (report.against.moves if report.against else ()) for pair in move.shown]


def test_the_funnel_is_that_of_the_decisions(root, report):
    rows = decisions(root)
    verdicts = [row["verdict"] for row in rows]
    assert report.counts == {**{side: verdicts.count(side) for side in ("keep", "review", "drop")}, "undecided": 0}
    assert (
        report.rows == ROWS * UNITS and report.fetched == (ROWS - 2) * UNITS and report.statuses == {"success": 44, "failed_to_download": 4}
    )
    for split in report.reasons:
        having = [row["verdict"] for row in rows if split.label in row["reasons"]]
        assert (split.keep, split.review, split.drop) == tuple(having.count(side) for side in ("keep", "review", "drop"))
        assert report.only[split.label] == sum(row["reasons"] == [split.label] and row["verdict"] == "drop" for row in rows)
    assert {reason for row in rows for reason in row["reasons"]} == {split.label for split in report.reasons}
    assert report.errors == [("failed_to_download", "http_404", 4)]


def test_a_cut_keeps_what_the_policy_would_keep(root, report):
    histogram = next(each for each in report.histograms if each.name == "clip.similarity")
    values = [np.float32(similarity(number)) for number in range(ROWS * UNITS) if number % ROWS not in (20, 22, 23)]
    assert (histogram.measured, histogram.missing) == (len(values), 2)
    assert [bound.at for bound in histogram.bounds] == [0.2, 0.3] and {0.2, 0.3} <= set(histogram.edges)
    place = histogram.edges.index(0.2)
    assert sum(histogram.at_least[place]) == sum(value >= np.float32(0.2) for value in values)
    assert sum(histogram.at_most[place]) == sum(value <= np.float32(0.2) for value in values)
    known = {pair.uid for pair in everyone(report)}
    assert len(histogram.samples) > 10 and {pair.uid for _, pair in histogram.samples} <= known
    by_uid = {row["uid"]: row["clip.similarity"] for row in decisions(root)}
    assert all(value == pytest.approx(by_uid[pair.uid]) for value, pair in histogram.samples)


def test_a_missing_measurement_is_not_zero(report):
    bands = {split.label: split for split in report.words["deepfake.band"]}
    assert bands[None].n == 2 and bands["high"].n == 1 and sum(split.n for split in bands.values()) == report.fetched
    assert [(split.label, split.n) for split in report.nsfw] == [("< 0.2", 40), ("0.2 – 0.5", 0), ("0.5 – 0.8", 1), ("≥ 0.8", 1), (None, 2)]
    assert [(split.label, split.n) for split in report.words["evidence.mining"]] == [("says nothing", 42), (None, 2)]
    unmeasured = next(each for each in report.histograms if each.name == "nsfw.clip")
    assert (unmeasured.measured, unmeasured.missing, unmeasured.edges) == (0, report.fetched, [0.9]) and not unmeasured.samples
    assert report.bytes is None and report.shards is None and not report.took
    page = render(report)
    assert "측정 안 됨" in page and "not measured" in page


def test_evidence_is_told_with_what_it_decides(report):
    assert [(one["signal"], one["n"], one["decides"], one["llr"]) for one in report.signals] == [("generator_metadata", 1, 1, (7.0, 7.0))]
    [shown] = report.sheets["band high"].shown
    assert shown.pair.caption == caption_of(14) and shown.evidence[0]["detail"] == "<b>Midjourney</b>"


def test_duplicates_stand_beside_the_better_pair(root, report):
    assert {twins.reason for twins in report.twins} == {"duplicate:exact", "duplicate:picture"}
    winners = {row["uid"]: row["duplicate_of"] for row in decisions(root) if row["duplicate_of"]}
    assert winners and {twins.loser.uid: twins.winner.uid for twins in report.twins if twins.winner} == winners


def test_who_changed_sides_and_why(root, report):
    then, now = decisions(root, "before"), decisions(root, "now")
    moved = [(was["verdict"], is_["verdict"]) for was, is_ in zip(then, now, strict=True) if was["verdict"] != is_["verdict"]]
    assert moved and {(move.before, move.after): move.n for move in report.against.moves} == {
        each: moved.count(each) for each in set(moved)
    }
    for was, row in report.against.matrix.items():
        for is_, n in row.items():
            assert n == sum(a["verdict"] == was and b["verdict"] == is_ for a, b in zip(then, now, strict=True))
    assert (report.against.added, report.against.gone, report.against.same_policy) == (0, 0, False)
    same = [(was["verdict"], is_["verdict"]) for was, is_ in zip(then, now, strict=True) if was["reasons"] == is_["reasons"]]
    assert {(move.before, move.after): move.same for move in report.against.moves} == {each: same.count(each) for each in set(moved)}
    gained = {reason: n for move in report.against.moves for reason, n in move.gained}
    assert all(n > 0 and reason in {split.label for split in report.reasons} for reason, n in gained.items())
    [shift] = [each for each in report.against.shifts if each.name == "clip.similarity"]
    assert sum(shift.now) == report.counts["keep"] and sum(shift.before) == report.against.before["keep"]


def test_nothing_of_a_pair_that_is_listed_now(root, report):
    """Every pair on the page is put on a list by its url: none is left, and nothing of any."""
    listed = {pair.uid for pair in everyone(report)}
    urls = [f"http://host{row}.test/{chunk}/{row}.jpg" for chunk in range(UNITS) for row in range(ROWS) if row % 2]
    lists = BlockLists({"url": frozenset(hashlib.sha256(url.removeprefix("http:").encode()).digest() for url in urls)})
    half = gather(scope_of(str(root), "now", pool_only=False), against=release_of(Pool(root), "before"), lists=lists)
    raw = [row for unit in sorted(Pool(root).committed()) for row in Pool(root).read_raw(unit).to_pylist()]
    hidden = {row["uid"] for row in raw if row["url"] in urls}
    shown = {pair.uid for pair in everyone(half)}
    assert hidden & listed and not hidden & shown and shown
    page = render(half)
    assert not [uid for uid in hidden if uid[:12] in page]
    assert half.counts == report.counts  # the release is what it is
    nobody = BlockLists({"domain": frozenset({b"test"})})
    assert not everyone(gather(scope_of(str(root), "now", pool_only=False), lists=nobody))


def test_nothing_of_a_pair_whose_bytes_are_listed_now(root, report):
    """MD5 of one pair's stored bytes, SHA-1 of another's: neither is on the page, everyone else is."""
    md5, sha1 = jpeg(12), jpeg(13)
    lists = BlockLists({"md5": frozenset({hashlib.md5(md5).digest()}), "sha1": frozenset({hashlib.sha1(sha1).digest()})})
    found = gather(scope_of(str(root), "now", pool_only=False), lists=lists)
    shown = {pair.caption for pair in everyone(found)}
    assert {caption_of(12), caption_of(13)} <= {pair.caption for pair in everyone(report)} and caption_of(14) in shown
    assert not {caption_of(12), caption_of(13)} & shown


def test_personal_data_is_shown_as_the_policy_writes_it(tmp_path, report):
    assert report.redacts and SECRET not in render(report) and "write to [e-mail] or call [phone]" in render(report)
    assert {pair.license for pair in everyone(report)} > {"ask [e-mail]"}, "a licence is text too"
    make_dataset(tmp_path / "open", policy=POLICY.replace('"redact"', '"keep"'))
    page = render(gather(scope_of(str(tmp_path / "open"), "now", pool_only=False), lists=NOTHING))
    assert SECRET in page


def test_pairs_that_may_be_unsafe_have_no_sharp_thumbnail_unless_asked_for(root, report):
    kinds = {pair.caption: pair for pair in everyone(report) if pair.blurred}
    assert kinds[caption_of(12)].withheld == kinds[caption_of(13)].withheld == "nsfw"
    assert kinds[caption_of(12)].sharp is None and kinds[caption_of(30)].sharp is not None
    unmeasured = [pair for pair in everyone(report) if pair.withheld == "unmeasured"]
    assert {pair.caption for pair in unmeasured} <= {caption_of(20), caption_of(44)}
    scope = scope_of(str(root), "now", pool_only=False)
    assert all(pair.sharp for pair in everyone(gather(scope, sharp="all", lists=NOTHING)) if pair.blurred)
    none = gather(scope, sharp="none", lists=NOTHING)
    assert not any(pair.sharp for pair in everyone(none)) and any(pair.blurred for pair in everyone(none))


def test_a_pair_that_people_rejected_has_no_sharp_thumbnail(tmp_path):
    pool, _ = make_dataset(tmp_path / "data")
    uid = pool.read_raw(unit(1), ["uid"])["uid"][6].as_py()  # number 30, kept, safe by its score
    policy = parse_policy(POLICY, where="t")
    release = select(pool, policy, "asked", answers=answers((uid, "keep", "no")))
    release.put_run({"digest": "d" * 16, "policy": policy.as_dict(), "policy_digest": policy.digest, "passes": [PASS.name], "parent": None})
    scope = scope_of(pool.store.root, "asked", pool_only=False)
    found = gather(scope, lists=NOTHING)
    [rejected] = {pair.uid: pair for pair in everyone(found) if "review:rejected" in pair.reasons}.values()
    assert (rejected.uid, rejected.sharp, rejected.withheld) == (uid, None, "rejected") and rejected.blurred
    assert "People rejected it" in render(found) and any(pair.sharp for pair in everyone(found))
    assert all(pair.sharp for pair in everyone(gather(scope, sharp="all", lists=NOTHING)) if pair.blurred)


def test_a_blurred_thumbnail_holds_8_pixels_a_side():
    import io

    from PIL import Image

    blurred, sharp = thumbnails(jpeg(1))
    assert Image.open(io.BytesIO(blurred)).size == (8, 6) and Image.open(io.BytesIO(sharp)).size == (64, 48)
    assert thumbnails(b"no image") is None and thumbnails(jpeg(1)) == (blurred, sharp)


def test_the_same_release_gives_the_same_bytes(root, report, tmp_path):
    again = gather(scope_of(str(root), "now", pool_only=False), against=release_of(Pool(root), "before"), lists=NOTHING)
    assert render(again) == render(report)
    out = [tmp_path / "1.html", tmp_path / "2.html"]
    for path in out:
        assert main(["--dataset", str(root), "--release", "now", "--out", str(path)]) == 0
    assert out[0].read_bytes() == out[1].read_bytes() == render(report).encode()


def test_it_is_put_beside_the_release_with_its_digest(tmp_path, capsys):
    make_dataset(tmp_path / "data")
    assert main(["--dataset", str(tmp_path / "data"), "--release", "now", "--lang", "ko"]) == 0
    place = tmp_path / "data/releases/now/report/report.html"
    derived = json.loads((tmp_path / "data/releases/now/derived.json").read_text())
    assert derived == {"report/report.html": hashlib.sha256(place.read_bytes()).hexdigest()}
    assert str(place) in capsys.readouterr().out and '<html lang="ko"' in place.read_text("utf-8")


def test_a_failed_gate_is_the_first_thing_on_the_page(tmp_path, capsys):
    make_dataset(tmp_path / "data")
    outcome = {"suite": "drift", "rule": "kept share is near the parents", "severity": "critical", "passed": False, "observed": 3}
    outcomes = [
        {**outcome, "rule": "licences are known", "severity": "warning", "message": "2 of 9"},
        {**outcome, "message": "keeps <b>3</b> of 48"},
    ]
    told = {"passed": False, "outcomes": [*outcomes, {**outcome, "rule": "fine", "passed": True, "message": "holds"}]}
    (tmp_path / "data/releases/now/gates.json").write_text(json.dumps(told))
    assert main(["--dataset", str(tmp_path / "data"), "--release", "now"]) == 0
    assert "not fit to publish" in capsys.readouterr().out
    page = (tmp_path / "data/releases/now/report/report.html").read_text("utf-8")
    body = page[page.index("<main") :]
    assert "Not fit to publish" in body[: body.index("kept share is near the parents")] < body
    assert body.index("kept share is near the parents") < body.index("licences are known") < body.index("rows in the source")
    assert "keeps &lt;b&gt;3&lt;/b&gt; of 48" in body and "<b>3</b>" not in page


def test_a_pool_without_a_policy(tmp_path):
    make_dataset(tmp_path / "data", decide=False)
    found = gather(scope_of(str(tmp_path / "data"), None, pool_only=False), lists=NOTHING)
    assert found.release is None and found.counts == {"keep": 0, "review": 0, "drop": 0, "undecided": 48}
    histogram = next(each for each in found.histograms if each.name == "clip.similarity")
    assert sum(histogram.at_least[0]) == histogram.measured == 42 and len(histogram.samples) > 5
    assert main(["--dataset", str(tmp_path / "data")]) == 0
    page = (tmp_path / "data/report.html").read_text("utf-8")
    assert "nothing is decided" in page and SECRET not in page


def test_hostile_text_stays_text(report):
    page = render(report)
    assert "<script>document.title" not in page and 'onerror="' not in page and "<svg onload" not in page and "<i>Someone" not in page
    assert "1337" not in page  # 7 * 191: templates evaluate nothing of a caption
    cuts = page.count('class="cut js-only"')
    assert cuts > 2 and page.count("<script") == page.count("</script>") == 3 + cuts


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("a\x00b\x1b[31m", 99, "a␀b␛[31m"),
        ("a\tb\nc", 99, "a b c"),
        ("x\x7fy\x85z", 99, "x␡y\ufffdz"),
        ("abcdef", 3, "abc…"),
        ("가나", 2, "가나"),
    ],
)
def test_text_that_a_page_can_hold(text, most, shown):
    assert clean(text, most) == shown


def test_long_captions_are_whole_on_demand(report):
    page = render(report)
    assert HOSTILE[7] in page and page.count(HOSTILE[7]) <= 4 and "10,000 characters" in page


def test_every_reason_is_told_in_korean():
    assert {f"{family}:{word}" for family, words in REASONS.items() for word in words} == set(REASON)
    assert all(any("가" <= letter <= "힣" for letter in text.ko) for text in REASON.values())


def test_a_parent_that_is_gone_is_no_parent(tmp_path, capsys):
    from quality.command import command

    root = tmp_path / "data"
    make_dataset(root, parent=GENEROUS)
    shutil.rmtree(root / "releases/before")
    assert main(["--dataset", str(root), "--release", "now", "--out", str(tmp_path / "found.html")]) == 0
    assert "without its parent before, which is not in the dataset any more" in capsys.readouterr().out
    page = (tmp_path / "found.html").read_text("utf-8")
    assert page == render(gather(scope_of(str(root), "now", pool_only=False), lists=NOTHING))
    assert command(lambda: main(["--dataset", str(root), "--release", "now", "--against", "before"])) == 2
    assert "has no release before; there is now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--dataset", "nowhere"], "no dataset here"),
        (["--release", "other"], "has no release other; there is before, now"),
        (["--against", "now", "--release", "now"], "that is the release itself"),
        (["--pool", "--release", "now"], "--pool is the report without a release"),
        (["--release", "now", "--out", "/proc/nothing/report.html"], "give a file that can be written"),
    ],
)
def test_wrong_use_is_told_in_a_line(root, flags, told, capsys):
    from quality.command import command

    assert command(lambda: main(["--dataset", str(root), *flags])) == 2
    [line] = [each for each in capsys.readouterr().err.splitlines() if each.startswith("pigment: error")]
    assert told in line
