"""The page in a real browser, in wide and narrow windows, by day and by night."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

WIDTHS = (1280, 400)


@pytest.fixture(scope="module", autouse=True)
def on_the_page(report, browser) -> None:
    browser.get((report.folder / "index.html").as_uri())


def resize(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def emulate(browser: Any, media: str = "", scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def colours(browser: Any) -> dict[str, str]:
    script = (
        "const s = getComputedStyle(document.body), t = getComputedStyle(document.querySelector('.panels img'));"
        "return {paper: s.backgroundColor, ink: s.color, drawing: t.backgroundColor}"
    )
    return browser.execute_script(script)


def test_nothing_is_said_on_the_console(browser):
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_overflow(browser, width):
    resize(browser, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_night_is_dark_and_its_drawings_stand_on_white(browser):
    emulate(browser, scheme="light")
    day = colours(browser)
    emulate(browser, scheme="dark")
    night = colours(browser)
    emulate(browser)
    assert luminance(day["paper"]) > 0.9 > 0.2 > luminance(night["paper"])
    assert night["drawing"] == "rgb(255, 255, 255)"


def test_print_is_dark_on_white_even_at_night(browser):
    emulate(browser, media="print", scheme="dark")
    printed = colours(browser)
    hidden = browser.execute_script("return getComputedStyle(document.querySelector('nav')).display")
    emulate(browser)
    assert (printed["paper"], hidden) == ("rgb(255, 255, 255)", "none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, scheme):
    emulate(browser, scheme=scheme)
    script = """return ['.answer', 'figcaption', '.lead', '.quiet', 'a', 'dd', 'small', 'abbr'].map(
        s => getComputedStyle(document.querySelector('main ' + s) || document.querySelector(s)).color)"""
    texts, paper = browser.execute_script(script), colours(browser)["paper"]
    emulate(browser)
    assert min(contrast(text, paper) for text in texts) >= 4.5


def channels(colour: str) -> list[float]:
    return [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
