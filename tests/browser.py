"""A real headless Chromium for tests: Debian's, driven by playwright. Where there is none, tests that need it are not run, and say so."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright's synchronous interface."""
    if find_spec("playwright") is None:
        pytest.skip("not run: playwright is not installed (the extra `dev`)")
    if not CHROMIUM.exists():
        pytest.skip(f"not run: there is no {CHROMIUM} (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])  # tests run as root
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Any) -> list[str]:
    """What axe-core finds serious or critical on the page as it is now: a line for each rule and element."""
    spec = find_spec("axe_playwright_python")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("not run: axe-playwright-python, which carries axe-core, is not installed (the extra `dev`)")
    page.evaluate(Path(spec.submodule_search_locations[0], "axe.min.js").read_text("utf-8"))  # past the page's own content security policy
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    assert page.evaluate("async () => (await axe.run(document, {resultTypes: ['passes']})).passes.length") > 10  # it did look
    return [
        f"{each['impact']} {each['id']}: {node['html'][:160]} {json.dumps(node.get('any', [])[:1])[:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]
