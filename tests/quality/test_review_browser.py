"""The review in a real browser, against a real server: judging by keyboard, undo, reveal, conflict, export; hostile captions; axe-core."""

from collections import Counter

import pyarrow.parquet as pq
import pytest

from schemas.reviews import ANSWERS, ANSWERS_PATH
from tests.browser import chromium, violations
from tests.conftest import SOAK
from tests.judging import at, judge, log_in, other, press, ready
from tests.reviews import HOSTILE, PASSWORD, command, make_pool, many_tasks, put_tasks, serving, task

ITEMS = 200 if SOAK else 24
PAGES = ("lead", "judge", "lead/conflicts", "lead/bulk", "lead/settings", "lead/audit")


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset: three tasks for two people, then one of known answer in ten, then plain ones and keep questions; and its server."""
    root = tmp_path_factory.mktemp("review") / "data"
    pool, pairs = make_pool(root, images=12)
    rows = many_tasks(pairs, ITEMS + 20, gold_every=10, keep_every=4)
    rows[:3] = [{**row, "overlap": 2} for row in rows[:3]]
    put_tasks(pool, rows)
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("lead", "lead")):
        assert command("users", "add", name, "--role", role, "--dataset", root, stdin=PASSWORD).returncode == 0
    with serving(root, "--overlap_share", "0", "--gold_share", "0.1") as server:
        yield root, server, {row["task"]: row for row in rows}


def test_from_log_in_to_export_by_keyboard(browser, made):
    root, server, rows = made
    ann = log_in(browser, server, "ann")
    given = dict(judge(ann, "ynuy"[n % 4], rows) for n in range(ITEMS - 2))
    assert len(given) == ITEMS - 2

    # undo: the item is back, and the new answer counts
    last = list(given)[-1]
    press(ann, "z")
    assert at(ann) == last
    given[last] = judge(ann, "u", rows)[1]

    # reveal: sharp bytes come only while space is held, and are on record
    ready(ann)
    looked = at(ann)
    seen = []
    ann.on("response", lambda response: "/image/" in response.url and seen.append((response.url, response.status)))
    ann.keyboard.down(" ")
    ann.wait_for_selector("#image[data-sharp='1']")
    sharp = ann.evaluate("document.getElementById('image').naturalWidth")
    ann.keyboard.up(" ")
    ann.wait_for_selector("#image[data-sharp='0']")
    assert sharp == 640 and ann.evaluate("document.getElementById('image').naturalWidth") == 384
    assert any(looked in url and "sharp=1" in url and status == 200 for url, status in seen)
    press(ann, "g")
    ann.wait_for_selector("#grey[aria-pressed=true]")
    given |= [judge(ann, "y", rows)]

    # arrows move to what was answered and back; skip is no answer
    ready(ann)
    here = at(ann)
    press(ann, "ArrowLeft")
    assert at(ann) == looked and "Your answer: Yes" in ann.inner_text("#status")
    press(ann, "ArrowRight")
    assert at(ann) == here
    press(ann, "s")
    assert at(ann) != here and ann.inner_text("#status") == "Skipped."
    given |= [judge(ann, "y", rows)]
    assert ann.problems == []

    # ben is asked the tasks of two people, and says otherwise
    ben = log_in(browser, server, "ben")
    twice = [one for one in given if rows[one]["overlap"] == 2]
    said = {}
    while set(twice) - set(said) and len(said) < 30:
        ready(ben)
        key = {"yes": "n", "no": "y", "unsure": "y"}.get(given.get(at(ben), "yes")) if at(ben) in twice else "y"
        said |= [judge(ben, key, rows)]
    conflicts = [one for one in twice if said[one] != given[one]]
    assert len(conflicts) == len(twice) == 3

    # the lead settles one conflict, and exports
    lead = log_in(browser, server, "lead")
    lead.click("text=Conflicts")
    assert lead.locator("tbody tr").count() == 3
    lead.click("tbody tr:first-child a")
    settled = lead.url.rsplit("/", 1)[1]
    assert "ann: " in lead.inner_text(".given") and "0.1" in lead.inner_text(".lines")
    lead.check("input[name=answer][value=unsure]")
    lead.click("button.main")
    lead.wait_for_url("**/lead/conflicts/*")
    assert lead.url.rsplit("/", 1)[1] != settled
    lead.goto(f"{server.url}/lead")
    lead.click("text=Export decisions")
    lead.wait_for_selector(".notice")
    assert lead.problems == []

    table = pq.read_table(root / ANSWERS_PATH)
    assert table.schema.names == ANSWERS.names
    found = {(row["task"], row["reviewer"]): row for row in table.to_pylist()}
    want = {(one, "ann"): answer for one, answer in given.items()} | {(one, "ben"): answer for one, answer in said.items()}
    want[settled, "lead"] = "unsure"
    assert {key: row["answer"] for key, row in found.items()} == want
    assert found[settled, "lead"]["adjudicates"] and sum(row["adjudicates"] for row in found.values()) == 1
    assert [key for key, row in found.items() if row["revealed"]] == [(looked, "ann")]
    for (one, _), row in found.items():
        assert (row["uid"], row["question"], row["queue"]) == (rows[one]["uid"], rows[one]["question"], rows[one]["queue"])
        is_why = row["question"] == "keep" and row["answer"] == "no"
        assert row["reasons"] == (["nsfw:high", "image:blurred"] if is_why else [])
    assert Counter(row["reviewer"] for row in found.values())["ann"] == ITEMS
    for page in (ann, ben, lead):
        page.context.close()


def test_hostile_captions_are_text(browser, made, tmp_path):
    pool, pairs = make_pool(tmp_path / "data", images=len(HOSTILE))
    spoilt = {"license": "<b>free</b>", "creator": HOSTILE["rtl"], "title": HOSTILE["word"], "license_url": "javascript:alert(1)"}
    put_tasks(pool, [task({**pair, **spoilt}, order, overlap=2) for order, pair in enumerate(pairs)])
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("lead", "lead")):
        assert command("users", "add", name, "--role", role, "--dataset", tmp_path / "data", stdin=PASSWORD).returncode == 0
    with serving(tmp_path / "data") as server:
        ann, ben = log_in(browser, server, "ann", locale="ko-KR"), log_in(browser, server, "ben")
        captions = []
        for key, page in (("y", ann), ("n", ben)):
            for number in range(len(HOSTILE)):
                ready(page)
                captions.append(page.text_content("#caption"))
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), number
                press(page, key)
        lead = log_in(browser, server, "lead")
        for path in ("lead/conflicts", "lead/audit", "lead/bulk", "lead"):
            lead.goto(f"{server.url}/{path}")
            assert "pwned" not in lead.title() and lead.locator("main script, main img[onerror], main b").count() == 0
        lead.goto(f"{server.url}/lead/conflicts")
        lead.click("tbody tr:first-child a")
        assert lead.locator("main a[href^=javascript]").count() == 0 and "<b>free</b>" in lead.inner_text(".lines")
        assert ann.problems == ben.problems == lead.problems == []
        assert ann.evaluate("document.documentElement.lang") == "ko"
    markup, rtl, control, long, word = captions[: len(HOSTILE)]
    assert markup == HOSTILE["markup"] and len(long) == len(HOSTILE["long"]) and word == HOSTILE["word"]
    assert rtl == "cat ⟦RLO⟧gpj.tac⟦PDF⟧ שלום עולם ⟦LRI⟧isolated⟦PDI⟧"
    assert control == "bell ␇ null ␀ escape ␛[31m red ␡ del  new line"


def test_a_server_that_dies_loses_nothing(browser, tmp_path):
    """The server is killed under the browser: the page says so, tries again, and the answer is there once."""
    pool, pairs = make_pool(tmp_path / "data", images=6)
    rows = {row["task"]: row for row in many_tasks(pairs, 12)}
    put_tasks(pool, list(rows.values()))
    assert command("users", "add", "ann", "--dataset", tmp_path / "data", stdin=PASSWORD).returncode == 0
    with serving(tmp_path / "data", "--gold_share", "0") as server:
        page = log_in(browser, server, "ann")
        given = [judge(page, "y", rows)]
        ready(page)
        one = at(page)
        server.kill()
        page.keyboard.press("n")
        page.wait_for_selector("#status:has-text('No connection')")
        server.start()
        other(page, one)
        given.append((one, "no"))
        given.append(judge(page, "u", rows))
    assert command("export", "--dataset", tmp_path / "data").returncode == 0
    table = pq.read_table(tmp_path / "data" / ANSWERS_PATH)
    assert sorted((row["task"], row["answer"]) for row in table.to_pylist()) == sorted(given)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, made, scheme):
    _, server, rows = made
    lead = log_in(browser, server, "lead", color_scheme=scheme)
    bare = browser.new_context(color_scheme=scheme).new_page()
    bare.goto(f"{server.url}/login")
    check(bare, "login")
    for path in (*PAGES, "nowhere"):
        lead.goto(f"{server.url}/{path}")
        if path == "judge":
            ready(lead)
            check(lead, path)
            why_not(lead, rows)
            check(lead, "why not")
            lead.keyboard.press("Escape")
            lead.keyboard.press("?")
        elif path == "lead/bulk":
            check(lead, path)
            lead.select_option("#question", "clip:low_similarity")
            lead.check("input[name=answer][value=yes]")
            lead.click("form.stack button.main")
            lead.wait_for_selector("section.confirm")
            path = "the bulk act's confirmation"
        elif path == "lead/conflicts" and lead.locator("tbody a").count():
            check(lead, path)
            lead.click("tbody tr:first-child a")
        check(lead, path)
    for page in (lead, bare):
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{server.url}/")
        check(page, "390 px")
        page.context.close()


def why_not(page, rows):
    """Opens the panel that asks why a pair should not be in the set, skipping to a question that has it."""
    while True:
        ready(page)
        one = at(page)
        if rows[one]["question"] == "keep":
            break
        press(page, "s")
        other(page, one)
    page.keyboard.press("n")
    page.wait_for_selector("#why:not([hidden])")


def check(page, name):
    """Serious and critical violations of axe-core, by page."""
    assert not (bad := violations(page)), [name, *bad]


# Holds back what the server answered: each call of a path by the seconds of its list, in order.
SLOW = """{
  const held = {"/api/next": [0, 2.5, 0, 0], "/api/decide": [0, 5]}, real = window.fetch;
  window.fetch = async (path, ...rest) => {
    const seconds = held[path]?.shift() ?? 0, response = await real(path, ...rest);
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return response;
  };
}"""


def test_an_item_that_comes_late_does_not_undo_the_answer_to_it(browser, tmp_path):
    """The second item is asked for ahead, and again when the first is answered; the late one comes while the second is being saved."""
    pool, pairs = make_pool(tmp_path, images=4)
    put_tasks(pool, many_tasks(pairs, 8))
    assert command("users", "add", "ann", "--dataset", tmp_path, stdin=PASSWORD).returncode == 0
    with serving(tmp_path, "--overlap_share", "0") as server:
        page = log_in(browser, server, "ann", script=SLOW)
        given = [judge(page, "u", {})[0] for _ in range(4)]
    assert len(set(given)) == 4 and page.problems == []
