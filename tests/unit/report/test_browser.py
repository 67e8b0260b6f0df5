"""The page in a real browser, in wide and narrow windows, in light and dark mode."""

import re
from typing import Any

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def on_the_page(report, browser) -> None:
    browser.get((report.folder / "index.html").as_uri())
    WebDriverWait(browser, 60).until(lambda page: page.execute_script("return document.documentElement.dataset.drawn"))


def resize(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def emulate(browser: Any, media: str = "", scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def colours(browser: Any) -> dict[str, str]:
    script = (
        "const of = (found) => getComputedStyle(document.querySelector(found)).color;"
        "return {paper: getComputedStyle(document.body).backgroundColor, drawing: of('.chart svg')}"
    )
    return browser.execute_script(script)


def brightness(colour: str) -> int:
    """From 0 (black) to 765 (white)."""
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def rows(browser: Any) -> list[str]:
    script = (
        "return [...document.querySelectorAll('.board tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].innerText)"
    )
    return browser.execute_script(script)


def test_nothing_is_said_on_the_console(browser):
    assert browser.get_log("browser") == []


def test_night_is_dark_and_its_charts_are_light(browser):
    found = {}
    for scheme in ("light", "dark"):
        emulate(browser, scheme=scheme)
        found[scheme] = colours(browser)
    emulate(browser)
    assert brightness(found["light"]["paper"]) > 700 > 100 > brightness(found["dark"]["paper"])
    assert brightness(found["light"]["drawing"]) < 150 < 600 < brightness(found["dark"]["drawing"])


def test_print_is_dark_on_white_even_at_night(browser):
    emulate(browser, media="print", scheme="dark")
    printed = colours(browser)
    hidden = browser.execute_script("return getComputedStyle(document.querySelector('nav')).display")
    emulate(browser)
    assert (printed["paper"], hidden) == ("rgb(255, 255, 255)", "none")


def test_the_leaderboard_is_ordered_by_a_click(browser):
    gap = "return [...document.querySelectorAll('.board tbody tr')].map(r => parseFloat(r.cells[4].innerText.replace('−', '-')))"
    heading = browser.find_elements(By.CSS_SELECTOR, ".board thead button")[4]
    for backwards in (True, False):
        browser.execute_script("arguments[0].click()", heading)
        found = browser.execute_script(gap)
        assert len(found) == 25
        assert found == sorted(found, reverse=backwards)


def test_the_leaderboard_is_filtered_by_words(browser):
    search = browser.find_element(By.CSS_SELECTOR, "#leaderboard input")
    search.send_keys("Adam 512")
    assert {row.split()[0] for row in rows(browser)} == {"adam", "adamw"}
    search.clear()
    search.send_keys(" ")
    assert len(rows(browser)) == 25


def point_at(browser: Any, chart: str) -> ActionChains:
    mark = browser.find_element(By.CSS_SELECTOR, f"#{chart} .mark-symbol path[aria-roledescription=point]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", mark)
    return ActionChains(browser).move_to_element(mark)


def test_a_pointer_over_a_mark_shows_its_figures(browser):
    point_at(browser, "gap").perform()
    tooltip = (By.CSS_SELECTOR, "#vg-tooltip-element.visible")
    shown = WebDriverWait(browser, 10).until(lambda page: page.find_element(*tooltip).text)
    assert "gap, points" in shown
    assert "width" in shown


def test_a_click_on_a_run_shows_its_curves_and_its_page(browser):
    before = browser.find_element(By.ID, "run").get_property("value")
    point_at(browser, "explorer").click().perform()
    chosen = browser.find_element(By.ID, "run").get_property("value")
    assert chosen != before
    assert chosen.endswith(", sweep")
    assert "/#/experiments/7/runs/" in browser.find_element(By.ID, "run-link").get_property("href")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_does_not_overflow(browser, width):
    resize(browser, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_without_scripts_there_is_a_picture_of_each_chart(report, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get((report.folder / "index.html").as_uri())
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    heights = browser.execute_script("return [...document.querySelectorAll('.chart > svg')].map(s => s.clientHeight)")
    assert len(heights) == 6
    assert min(heights) > 100
    assert len(rows(browser)) == 25
