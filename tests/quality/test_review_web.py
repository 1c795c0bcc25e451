"""The server against those who mean ill: cookies, tokens, headers, hosts, bodies, throttling, rights to images, names as paths."""

import http.client
import json
import re
import time
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from quality.review.server.answers import WHY_NOT
from quality.review.server.guard import BODY_BYTES
from quality.review.server.texts_ko import REASONS_KO
from quality.review.server.words import WORDS
from schemas.reasons import REASONS
from tests.reviews import PASSWORD, command, drawing, make_pool, many_tasks, put_tasks, serving


class Client:
    """A browser's manners, without a browser: cookies, no redirects followed."""

    def __init__(self, server):
        self.server, self.cookies, self.csrf = server, {}, ""

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body). body: a dict becomes JSON, a list of pairs a form, bytes go as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        given = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        if isinstance(body, dict):
            body, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif isinstance(body, list):
            body, given["Content-Type"] = urlencode(body).encode(), "application/x-www-form-urlencoded"
        try:
            sent = {**given, "X-CSRF-Token": self.csrf, **(headers or {})}
            connection.request(method, path, body, sent, encode_chunked="Transfer-Encoding" in sent)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return response.status, response.headers, data

    def log_in(self, name, password=PASSWORD):
        token = re.findall(rb'name="csrf" value="([^"]+)"', self.ask("GET", "/login")[2])[0].decode()
        found = self.ask("POST", "/login", [("csrf", token), ("name", name), ("password", password)])
        if found[0] == 303:
            page = self.ask("GET", "/judge")[2]
            self.csrf = re.findall(rb'data-csrf="([^"]+)"', page)[0].decode()
        return found

    def next(self):
        return json.loads(self.ask("POST", "/api/next", {"shown": []})[2])["item"]["task"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("web") / "data"
    pool, pairs = make_pool(root, images=4)
    rows = many_tasks(pairs, 40)
    put_tasks(pool, rows)
    for name, role in (("ann", "annotator"), ("ben", "annotator"), ("gone", "annotator"), ("lead", "lead")):
        assert command("users", "add", name, "--role", role, "--dataset", root, stdin=f"{PASSWORD}\n").returncode == 0
    with serving(root, "--overlap_share", "0", "--gold_share", "0") as server:
        yield root, server, rows


@pytest.fixture
def server(made):
    return made[1]


@pytest.fixture
def ann(server):
    client = Client(server)
    assert client.log_in("ann")[0] == 303
    return client


def test_cookies_and_headers(server):
    client = Client(server)
    status, headers, _ = client.log_in("ann")
    (cookie,) = [line for line in headers.get_all("Set-Cookie") if line.startswith("pigment-session=")]
    assert status == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    for path in ("/judge", "/static/style.css", "/nowhere", "/login", f"/image/{'0' * 32}"):
        headers = client.ask("GET", path)[1]
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] in ("no-store", "no-cache") and "server" not in headers
    page = client.ask("GET", "/judge")[2].decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", page)


def test_over_https_cookies_are_for_https_alone(made):
    root, _, _ = made
    with serving(root, "--behind_proxy", "--allow_host", "review.example.org") as server:
        headers = Client(server).ask("GET", "/login", headers={"Host": "review.example.org"})[1]
        assert headers["set-cookie"].startswith("__Host-pigment-form=") and "; Secure" in headers["set-cookie"]
        assert "strict-transport-security" in headers


def test_nobody_gets_nothing(server, made):
    nobody = Client(server)
    one = made[2][0]["task"]
    for path in ("/", "/judge", "/lead", "/lead/live", "/lead/audit", f"/lead/conflicts/{one}"):
        status, headers, body = nobody.ask("GET", path)
        assert (status, headers["location"], body) == (303, "/login", b"")
    assert nobody.ask("GET", f"/image/{one}")[0] == 401
    for path in ("next", "decide", "skip", "undo", "reveal"):
        key = {} if path in ("next", "reveal") else {"key": "k" * 10}
        body = {"shown": []} if path == "next" else {"task": one, **key, **({"answer": "yes"} if path == "decide" else {})}
        assert nobody.ask("POST", f"/api/{path}", body)[0] == 401
    for path in ("/lead/export", "/lead/bulk", "/lead/settings", "/logout"):
        assert nobody.ask("POST", path, [("csrf", "")])[0] == 303


def test_an_annotator_is_no_lead(ann):
    for path in ("/lead", "/lead/live", "/lead/conflicts", "/lead/bulk", "/lead/settings", "/lead/audit"):
        assert ann.ask("GET", path)[0] == 403
    for path in ("/lead/export", "/lead/bulk", "/lead/bulk/undo", "/lead/settings", f"/lead/conflicts/{'0' * 32}"):
        assert ann.ask("POST", path, [("csrf", ann.csrf)])[0] == 403


def test_every_change_needs_its_token(ann, server):
    held, token = ann.next(), ann.csrf
    other = Client(server)
    other.log_in("ben")
    for wrong in ("", "x", other.csrf):
        ann.csrf = wrong
        for path, body in (("next", {}), ("skip", {"task": held, "key": "k" * 10}), ("reveal", {"task": held}), ("undo", {"key": "k" * 10}),
                           ("decide", {"task": held, "key": "k" * 10, "answer": "yes"})):  # fmt: skip
            assert ann.ask("POST", f"/api/{path}", body)[0] == 400, path
        for path in ("/logout", "/display"):
            assert ann.ask("POST", path, [("csrf", wrong), ("theme", "dark")])[0] == 400
    ann.csrf = token
    assert ann.next() == held
    lead = Client(server)
    lead.log_in("lead")
    for path in (
        "/lead/export",
        "/lead/bulk",
        "/lead/bulk/undo",
        "/lead/settings",
        f"/lead/conflicts/{held}",
        f"/lead/conflicts/{held}/reopen",
    ):
        assert lead.ask("POST", path, [("csrf", ann.csrf), ("answer", "yes")])[0] == 400, path


def test_a_log_in_form_is_ours(server):
    client = Client(server)
    client.ask("GET", "/login")
    for token in ("", "x" * 43):
        assert client.ask("POST", "/login", [("csrf", token), ("name", "ann"), ("password", PASSWORD)])[0] == 400
    assert Client(server).ask("POST", "/login", [("csrf", ""), ("name", "ann"), ("password", PASSWORD)])[0] == 400


def test_other_sites_and_names_are_refused(ann):
    for headers in ({"Origin": "http://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert ann.ask("POST", "/api/next", {}, headers)[0] == 403
    assert ann.ask("POST", "/api/next", {}, {"Origin": ann.server.url})[0] == 200
    for host in ("evil.test", "127.0.0.1.evil.test", ""):
        assert ann.ask("GET", "/login", headers={"Host": host})[0] == 421


def test_bodies_are_bounded(ann):
    assert ann.ask("POST", "/api/next", b"x" * (BODY_BYTES + 1))[0] == 413
    chunks = (b"x" * 10_000 for _ in range(20))
    assert ann.ask("POST", "/display", chunks, {"Transfer-Encoding": "chunked"})[0] == 413  # no length is announced
    assert ann.ask("POST", "/display", [(f"f{n}", "") for n in range(200)])[0] == 400
    assert ann.ask("PUT", "/api/next", {})[0] == 405


def test_images_only_of_ones_own(ann, server, made):
    ben = Client(server)
    ben.log_in("ben")
    mine, his = ann.next(), ben.next()
    assert mine != his
    status, headers, blurred = ann.ask("GET", f"/image/{mine}")
    assert status == 200 and headers["content-type"] == "image/jpeg" and len(blurred) < 20_000
    assert ann.ask("GET", f"/image/{his}")[0] == 404 and ann.ask("GET", f"/image/{his}?sharp=1")[0] == 404
    assert ann.ask("GET", f"/image/{made[2][-1]['task']}")[0] == 404  # a task that nobody holds
    assert ann.ask("GET", f"/image/{mine}?sharp=1")[0] == 403
    assert ann.ask("POST", "/api/reveal", {"task": his})[0] == 409
    assert ann.ask("POST", "/api/reveal", {"task": mine})[0] == 200
    sharp = ann.ask("GET", f"/image/{mine}?sharp=1")
    assert sharp[0] == 200 and len(sharp[2]) > len(blurred)
    assert drawing(0) not in sharp[2]  # encoded anew
    lead = Client(server)
    lead.log_in("lead")
    assert lead.ask("GET", f"/image/{his}")[0] == 200 and lead.ask("GET", f"/image/{his}?sharp=1")[0] == 403


def test_names_are_never_paths(ann):
    files = ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "style.css%00", "")
    tasks = ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", f"{'0' * 31}%00", "a" * 5000)
    for path in (*(f"/static/{name}" for name in files), *(f"/image/{name}" for name in tasks)):
        assert ann.ask("GET", path)[0] in (404, 405), path
    for back in (
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "/judge\r\nX: y",
        "javascript:alert(1)",
        "/" + "a" * 40 + "!",
        "/" + "a" * 5000 + "!",
        "/" + "a" * 201,
    ):
        status, headers, _ = ann.ask("POST", "/display", [("csrf", ann.csrf), ("back", back), ("theme", "dark")])
        assert (status, headers["location"]) == (303, "/")


def test_what_no_database_holds_is_no_error(ann):
    held = ann.next()
    body = {"task": held, "key": "k" * 12, "answer": "yes", "note": "surrogate \ud800 end"}
    assert ann.ask("POST", "/api/decide", body)[0] == 400
    assert ann.ask("POST", "/api/decide", {**body, "note": "nul \0 end"})[0] == 200
    other = Client(ann.server)
    assert other.log_in("nul\0", "pass\0word")[0] == 403


def test_a_spoilt_call_changes_nothing(ann):
    held = ann.next()
    good = {"task": held, "key": "k" * 14, "answer": "yes"}
    for bad in ({"answer": "maybe"}, {"task": "0" * 31}, {"key": "short"}, {"key": "x" * 99}, {"note": "x" * 2001}, {"seconds": -1}, {"extra": 1},
                {"reasons": ["image:ugly"]}, {"reasons": ["image:empty"]}, {"seconds": float("nan")}, {"answer": None}):  # fmt: skip
        status, _, body = ann.ask("POST", "/api/decide", {**good, **bad})
        assert status == 400 and b"maybe" not in body and b"ugly" not in body, bad
    assert ann.ask("POST", "/api/decide", b"{broken", {"Content-Type": "application/json"})[0] == 400
    assert ann.next() == held


def test_a_password_change_and_disable_end_log_ins(server, made):
    root, _, _ = made
    first, second = Client(server), Client(server)
    assert first.log_in("gone")[0] == 303 and second.log_in("gone")[0] == 303
    assert command("users", "password", "gone", "--dataset", root, stdin="another good one\n").returncode == 0
    assert first.ask("GET", "/judge")[0] == second.ask("GET", "/judge")[0] == 303
    assert first.log_in("gone")[0] == 403 and first.log_in("gone", "another good one")[0] == 303
    assert command("users", "disable", "gone", "--dataset", root).returncode == 0
    assert first.ask("GET", "/judge")[0] == 303 and first.log_in("gone", "another good one")[0] == 403


def test_log_out_ends_the_log_in_on_the_server(ann):
    kept = dict(ann.cookies)
    assert ann.ask("POST", "/logout", [("csrf", ann.csrf)])[0] == 303
    ann.cookies = kept
    assert ann.ask("GET", "/judge")[0] == 303


def test_throttling_by_name_and_no_hint_who_exists(tmp_path):
    """In a server of its own: it counts failures. The dear part of a try is spent on unknown names too."""
    root = tmp_path / "data"
    pool, pairs = make_pool(root, images=2)
    put_tasks(pool, many_tasks(pairs, 2))
    assert command("users", "add", "ann", "--dataset", root, stdin=PASSWORD).returncode == 0
    with serving(root) as server:
        client, pages, times = Client(server), {}, {}
        for _ in range(4):
            for name in ("ann", "nobody"):
                start = time.perf_counter()
                status, _, body = client.log_in(name, "a wrong password")
                times.setdefault(name, []).append(time.perf_counter() - start)
                pages[name] = (status, re.sub(rb'value="[^"]*"', b"", body))
        assert pages["ann"] == pages["nobody"] and pages["ann"][0] == 403
        assert 1 / 3 < min(times["nobody"]) / min(times["ann"]) < 3
        for name in ("ann", "nobody"):
            statuses = [client.log_in(name, "a wrong password")[0] for _ in range(7)]
            assert statuses == [403] * 6 + [429], name  # ten failures in all
        assert client.log_in("ann")[0] == 429  # the right password too
        server.kill()
        server.start()
        assert client.log_in("ann")[0] == 429  # counted in the database
    listed = command("users", "list", "--dataset", root).stdout
    assert "ann" in listed and "nobody" not in listed


def test_texts_are_whole():
    words = {f"{family}:{word}" for family, known in REASONS.items() for word in known}
    assert set(REASONS_KO) == words and set(WHY_NOT) <= words and len(WHY_NOT) <= 9
    for key, (english, korean) in WORDS.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", korean)), key
        assert english and korean


def test_tables_hold_no_password_in_clear(made):
    data = b"".join(path.read_bytes() for path in (made[0] / "reviews").iterdir() if "sqlite" in path.name)
    assert PASSWORD.encode() not in data and b"$argon2id$" in data
    assert (made[0] / "reviews" / "review.sqlite").stat().st_mode & 0o077 == 0
