"""The report in a real browser, with the network off: what it asks for, what the keyboard does, and what axe-core says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quality.report.__main__ import main
from tests.browser import chromium, violations
from tests.reporting import GENEROUS, HOSTILE, SECRET, caption_of, make_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release against its parent (now.html), and a pool (pool.html)."""
    folder = tmp_path_factory.mktemp("page")
    make_dataset(folder / "data", parent=GENEROUS)
    for name, flags in (("now", ["--release", "now"]), ("pool", ["--pool"])):
        assert main(["--dataset", str(folder / "data"), *flags, "--out", str(folder / f"{name}.html")]) == 0
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Any, folder: Path) -> Iterator[Any]:
    """now.html without a network. What it asked for and what its scripts complained about: page.asked, page.complaints."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto((folder / "now.html").as_uri())
    yield page
    context.close()


def outside(asked: list[str], folder: Path) -> list[str]:
    return [url for url in asked if not url.startswith("data:") and url != (folder / "now.html").as_uri()]


def test_it_opens_with_the_network_off_and_asks_for_nothing(opened, folder):
    for button in opened.locator("button").all()[:40]:
        if button.is_visible():
            button.click()
    opened.mouse.wheel(0, 60_000)
    assert opened.asked and not outside(opened.asked, folder) and opened.complaints == []


def test_the_policy_of_the_page_lets_nothing_in(opened):
    """Its content security policy, not only its good manners: a script and an image that are planted do nothing."""
    opened.evaluate(
        """() => { document.body.append(Object.assign(document.createElement('script'), {textContent: "document.title = 'owned'"}));
                   document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'})); }"""
    )
    assert opened.title() != "owned"
    assert any("violates the following Content Security Policy directive" in each for each in opened.complaints)


def test_captions_that_mean_harm_are_text(opened):
    assert opened.title() == "data now: quality report"
    shown = "\n".join(opened.locator(".pair bdi").all_text_contents())
    assert "<script>document.title='owned'</script>" in shown and "{{ 7 * 191 }}" in shown and SECRET not in shown
    assert opened.locator("main i:not([class]), main script[src], main iframe, main svg[onload], main img[onerror]").count() == 0
    assert opened.locator(".pair bdi").evaluate_all("all => all.every(each => getComputedStyle(each).unicodeBidi === 'isolate')")
    widths = opened.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    whole = opened.locator(".pair details", has_text="10,000 characters").first
    whole.evaluate("each => { for (let up = each.parentElement; up; up = up.parentElement) if (up.tagName === 'DETAILS') up.open = true; }")
    whole.locator("summary").click()
    assert whole.locator(".whole bdi").text_content() in HOSTILE and whole.locator(".whole bdi").is_visible()


def cut(page: Any) -> tuple[Any, Any]:
    """The cut of clip.similarity: its slider and its sentence."""
    box = page.locator(".histogram", has_text="clip.similarity").locator(".cut").first
    return box.locator("input[type=range]"), box.locator(".says")


def test_the_cut_moves_by_keyboard_and_counts(opened):
    slider, says = cut(opened)
    slider.focus()
    assert opened.evaluate("document.activeElement.type") == "range"
    data = opened.evaluate("e => JSON.parse(e.closest('.cut').querySelector('script').textContent)", slider.element_handle())
    start = int(slider.input_value())
    assert data["edges"][start] == 0.2 and "at least 0.2 keeps" in says.inner_text()
    for key, moved in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        opened.keyboard.press(key)
        place = start + moved
        kept = sum(data["at_least"][place])
        assert int(slider.input_value()) == place and f"keeps {kept} of 42 measured pairs" in says.inner_text()
        assert slider.get_attribute("aria-valuetext") == says.inner_text()
    opened.keyboard.press("Home")
    assert "keeps 42 of 42 measured pairs (100.0%) and drops 0." in says.inner_text()
    opened.keyboard.press("End")
    gone = opened.locator(".histogram", has_text="clip.similarity").first.locator(".sheet.small").first
    assert gone.locator("li").count() == 6
    values = [float(text.split(" ")[0]) for text in gone.locator(".meta").all_inner_texts()]
    assert values == sorted(values, reverse=True) and all(value < data["edges"][-1] for value in values)
    opened.locator(".histogram", has_text="clip.similarity").first.get_by_label("at most").check()
    assert (
        "at most" in says.inner_text()
        and "max = " in opened.locator(".histogram", has_text="clip.similarity").first.locator("pre").text_content()
    )


def test_language_is_switched_by_keyboard(opened):
    _, says = cut(opened)
    assert opened.locator("html").get_attribute("lang") == "en" and opened.get_by_role("heading", name="Verdict").count() == 0
    opened.locator("button[name=lang][value=ko]").focus()
    opened.keyboard.press("Enter")
    assert opened.locator("html").get_attribute("lang") == "ko" and opened.title() == "data now: 품질 보고서"
    assert (
        opened.get_by_role("heading", name="단계와 이유").is_visible() and not opened.get_by_text("Funnel and reasons").first.is_visible()
    )
    assert "남기고" in says.inner_text() and opened.get_by_role("navigation", name="차례").count() == 1
    english = opened.evaluate("""() => [...document.querySelectorAll('.l[lang=en]')].filter(each => each.offsetParent !== null).length""")
    assert english == 0


def test_theme_is_switched(opened):
    def paper() -> str:
        return opened.evaluate("getComputedStyle(document.body).backgroundColor")

    opened.emulate_media(color_scheme="light")
    light = paper()
    opened.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark  # as the system says, unless told
    opened.locator("button[name=theme][value=light]").click()
    assert paper() == light
    opened.locator("button[name=theme][value=dark]").click()
    opened.emulate_media(color_scheme="light")
    assert paper() == dark
    opened.emulate_media(media="print")
    bar = opened.locator(".plot svg path[style*='--keep']").first
    assert bar.evaluate("each => getComputedStyle(each).fill") == "rgb(47, 111, 159)"  # paper is white whatever the screen was


def test_a_sharp_image_is_shown_when_asked_and_not_before(opened):
    images = opened.locator("#sheet-kept img")
    assert opened.evaluate("[...document.images].every(each => each.naturalWidth <= 8)") and images.count() > 3
    button = opened.locator("#sheet-kept button").first
    button.focus()
    opened.keyboard.press("Space")
    image = images.first
    opened.wait_for_function("document.querySelector('#sheet-kept img').naturalWidth === 64")
    assert button.get_attribute("aria-pressed") == "true" and image.get_attribute("alt") == "Image of the pair"
    assert opened.evaluate("[...document.images].filter(each => each.naturalWidth > 8).length") == 1
    opened.keyboard.press("Space")
    opened.wait_for_function("document.querySelector('#sheet-kept img').naturalWidth === 8")
    everyone = opened.locator("[data-sheet=sheet-kept]")
    everyone.click()
    opened.wait_for_function("[...document.querySelectorAll('#sheet-kept img')].every(each => each.naturalWidth === 64)")
    unsafe = opened.locator("#sheet-nsfw li", has_text=caption_of(12))
    assert unsafe.locator("button").count() == 0 and "not in this file" in unsafe.inner_text()


def test_without_scripts_it_can_be_read_and_stays_blurred(browser, folder):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((folder / "now.html").as_uri())
    assert page.get_by_role("heading", name="What is doubtful").is_visible() and page.locator(".plot svg").first.is_visible()
    assert not page.locator("input[type=range]").first.is_visible() and not page.locator(".picture button").first.is_visible()
    context.close()


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["now", "pool"])
def test_axe_finds_nothing_serious(browser, folder, name, theme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    page = context.new_page()
    page.goto((folder / f"{name}.html").as_uri())
    page.locator(f"button[name=theme][value={theme}]").click()
    if theme == "dark":
        page.locator("button[name=lang][value=ko]").click()
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
