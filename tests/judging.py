"""What annotators do in a browser of playwright's: log in, and judge by keyboard."""

from tests.reviews import PASSWORD


def log_in(browser, server, name, script="", **context):
    """A page of the browser, of somebody who has come in; `problems` holds what its console complained about. script: runs before each page's own."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}, **context).new_page()
    page.add_init_script(script)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    page.goto(server.url)
    page.wait_for_selector("[name=name]:focus")  # by itself, soon after the page is there; our policy forbids to wait by eval
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/lead" if name == "lead" else "**/judge")
    return page


def at(page):
    """The task that is shown."""
    return page.get_attribute("#judge", "data-task")


def ready(page):
    page.wait_for_selector("#judge[aria-busy=false][data-task]:not([data-task=''])")
    page.wait_for_selector("#image[src]:not([hidden])")


def other(page, one):
    """Waits until another item is shown. Selectors wait without eval, which our policy forbids."""
    page.wait_for_selector(f"#judge:not([data-task='{one}'])")


def press(page, key):
    """Presses a key and waits until another item, or another state, is there."""
    page.keyboard.press(key)
    page.wait_for_selector("#judge[aria-busy=false]")


def judge(page, key, rows):
    """Answers the item at hand by keyboard; returns (task, answer)."""
    ready(page)
    one = at(page)
    press(page, key)
    if key == "n" and rows[one]["question"] == "keep":
        assert page.is_visible("#why") and at(page) == one
        page.keyboard.press("1")
        page.keyboard.press("7")
        press(page, "Enter")
    other(page, one)
    return one, {"y": "yes", "n": "no", "u": "unsure"}[key]
