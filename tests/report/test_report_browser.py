"""The page in a real browser: opened from disk, moved over, clicked, in light and dark, wide and narrow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser's driver is missing: pip install playwright"
)

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in _NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt install chromium")
_DRAWN = "html[data-drawn=yes]"
_PATHS = (
    "[...document.querySelectorAll('figure')].map(f => f.querySelectorAll('.cartesianlayer .overplot path').length)"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "page.html"
    path.write_text(page, encoding="utf-8")
    return path


class Visit:
    """The page in one tab, with all that it said, asked for and tried."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.tab = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.tab.on("request", self._ask)
        self.tab.goto(file.as_uri())
        self.tab.wait_for_selector(_DRAWN, state="attached")

    def _ask(self, request: Any) -> None:
        if not request.url.startswith("blob:"):  # the page's own memory, for the download of a picture
            self.asked.append(request.url)

    def axis(self, figure: str, letter: str = "x") -> dict[str, Any]:
        script = f"(() => {{ const a = document.querySelector('#{figure} .drawing')._fullLayout.{letter}axis;"
        value: dict[str, Any] = self.tab.evaluate(script + " return {type: a.type, range: a.range}; })()")
        return value

    def until(self, condition: str) -> None:
        """Wait until a script says true, and fail after ten seconds."""
        for _ in range(100):
            if self.tab.evaluate(condition):
                return
            self.tab.wait_for_timeout(100)
        raise AssertionError(f"not within ten seconds: {condition}")

    def place(self, figure: str, x: float, y: float) -> tuple[float, float]:
        """Pixel of a point of a figure, scrolled into view."""
        self.tab.locator(f"#{figure}").scroll_into_view_if_needed()
        script = """([figure, x, y]) => {
            const plot = document.querySelector(`#${figure} .drawing`), l = plot._fullLayout;
            const box = plot.querySelector('.nsewdrag').getBoundingClientRect();
            return [box.left + l.xaxis.d2p(x), box.top + l.yaxis.d2p(y)]; }"""
        left, top = self.tab.evaluate(script, [figure, x, y])
        return float(left), float(top)


@pytest.fixture(scope="module")
def shared(browser: Any, file: Path) -> Iterator[Visit]:
    made = Visit(browser, file)
    yield made
    made.context.close()


@pytest.fixture
def visit(shared: Visit, file: Path) -> Iterator[Visit]:
    """One tab for all tests, since a page of 5 MB takes seconds to open; none may leave an error or a request."""
    yield shared
    assert shared.said == []
    assert shared.asked == [file.as_uri()]


def test_it_opens_from_disk_without_an_error_or_a_request(visit: Visit, file: Path) -> None:
    paths = visit.tab.evaluate(_PATHS)
    assert len(paths) > 8
    empty = visit.tab.locator("figure.none .drawing")
    assert sum(count == 0 for count in paths) == empty.count() <= 1
    visit.tab.mouse.wheel(0, 20_000)
    visit.tab.wait_for_timeout(200)
    assert visit.said == []  # nor an alert from a hostile name


def test_the_browser_refuses_connections_and_foreign_code(browser: Any, file: Path) -> None:
    visit = Visit(browser, file)
    attempt = "fetch('https://example.org/').then(() => 'went', () => 'refused')"
    assert visit.tab.evaluate(attempt) == "refused"
    add = "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    visit.tab.evaluate(f"() => {{ {add} }}")
    assert visit.tab.evaluate("window.ran") is None
    assert all("Content Security Policy" in line for line in visit.said)
    assert visit.asked == [file.as_uri()]
    visit.context.close()


def test_a_point_under_the_mouse_tells_of_its_cell(visit: Visit) -> None:
    traces = visit.tab.evaluate("document.querySelector('#losses-data .drawing').data.map(t => [t.x, t.y, t.error_y])")
    x, y, _ = next(trace for trace in traces if trace[2])
    visit.tab.mouse.move(*visit.place("losses-data", x[2], y[2]))
    label = visit.tab.locator("#losses-data .hoverlayer .hovertext")
    label.first.wait_for(state="attached", timeout=5000)
    text = label.first.text_content()
    assert re.search(r"D = 400, N = [\d,]+", text), text
    loss = float(re.search(r"L_val = ([\d.]+)", text)[1])  # that of the mean, or of a seed as near to the mouse
    assert loss == pytest.approx(y[2], rel=0.05)


def test_every_curve_has_a_label_that_fills(visit: Visit) -> None:
    script = """figure => {
        const plot = figure.querySelector('.drawing'), labels = [];
        (plot.data || []).forEach((trace, i) => {
            if (!trace.hovertemplate || trace.visible === 'legendonly') { return; }
            if (trace.type === 'contour') { return; }  // it has no points; the next test moves over one
            Plotly.Fx.hover(plot, [{curveNumber: i, pointNumber: 0}]);
            labels.push(plot.querySelector('.hoverlayer').textContent);
            Plotly.Fx.unhover(plot);
        });
        return labels; }"""
    figures = visit.tab.locator("figure[data-chart]:not(.none)")
    for i in range(figures.count()):
        labels = figures.nth(i).evaluate(script)
        assert labels
        for label in labels:
            assert label, figures.nth(i).get_attribute("id")
            assert "%{" not in label
            assert "undefined" not in label


def test_the_map_tells_the_law_between_cells_and_the_cell_on_a_point(visit: Visit) -> None:
    place = visit.place("map-0", 566.0, 600_000.0)  # between four cells
    visit.tab.mouse.move(*place)
    label = visit.tab.locator("#map-0 .hoverlayer .hovertext").first
    label.wait_for(state="attached", timeout=5000)
    assert re.search(r"L = [\d.]+", label.text_content())
    visit.tab.mouse.move(*visit.place("map-0", 400.0, 300_000.0))
    visit.until("document.querySelector('#map-0 .hoverlayer').textContent.includes('D = 400')")


def test_no_button_offers_to_send_anything_away(visit: Visit) -> None:
    buttons = visit.tab.locator(".modebar-btn").evaluate_all("all => all.map(b => b.dataset.title)")
    assert set(buttons) == {"Download plot as a PNG", "Reset axes"}
    visit.tab.locator("#losses-data .drawing").hover()
    with visit.tab.expect_download() as download:  # made in the page itself
        visit.tab.locator("#losses-data .modebar-btn").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_scales_switch_between_logarithmic_and_linear(visit: Visit) -> None:
    before = visit.axis("losses-data")
    assert before["type"] == "log"
    box = visit.tab.locator("#losses-data input[data-axis=x]")
    box.uncheck()
    after = visit.axis("losses-data")
    assert after["type"] == "linear"
    assert after["range"] == pytest.approx([10.0**end for end in before["range"]])
    assert visit.axis("losses-data", "y")["type"] == "log"
    box.check()
    assert visit.axis("losses-data") == before
    values = visit.tab.locator("#map-0 input[data-axis=y]")
    values.uncheck()
    assert visit.axis("map-0", "y")["type"] == "linear"
    values.check()


def test_choosing_a_series_changes_its_figures_words_and_table(visit: Visit) -> None:
    title = "#fits [data-group=series]:not(.other) h3"
    first = visit.tab.locator(title).all_text_contents()
    assert len(first) == 1
    trace = "document.querySelector('#series-law .drawing').data[0].x[0]"
    before = visit.tab.evaluate(trace)
    options = visit.tab.locator("#choose-series option").all_text_contents()
    over_n = next(i for i, name in enumerate(options) if "over N" in name)
    visit.tab.locator("#choose-series").select_option(str(over_n))
    assert visit.tab.locator(title).all_text_contents() == [options[over_n]]
    assert visit.tab.evaluate(trace) != before
    assert "No break was tested" in visit.tab.locator("#series-break .drawing").text_content()
    visit.tab.locator("#choose-series").select_option("0")  # and back: the break is drawn again
    assert visit.tab.locator("#series-break .cartesianlayer .overplot path").count() > 5


def test_tables_sort_by_click_and_by_key(visit: Visit) -> None:
    table = visit.tab.locator("#tables table").first
    names = [name.strip() for name in table.locator("th").all_text_contents()]
    column = names.index("L_val")
    head = table.locator("th").nth(column)

    def values() -> list[float]:
        cells = table.locator(f"tbody tr td:nth-child({column + 1})")
        return [float(value) for value in cells.evaluate_all("cells => cells.map(c => c.dataset.value)")]

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    table.locator("th").first.locator("button").click()
    assert head.get_attribute("aria-sort") is None


def test_it_follows_the_theme_fits_a_phone_and_prints(visit: Visit) -> None:
    ink = "document.querySelector('#losses-data .drawing')._fullLayout.font.color"
    light = visit.tab.evaluate(ink)
    visit.tab.emulate_media(color_scheme="dark")
    visit.until(f"{ink} !== '{light}'")
    visit.tab.set_viewport_size({"width": 360, "height": 740})
    visit.until("document.documentElement.scrollWidth <= 360")
    visit.until("document.querySelector('#losses-data .main-svg').getBoundingClientRect().width <= 360")
    visit.tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert visit.tab.locator(".card details:not([open])").count() == 0
    assert visit.tab.evaluate(ink) == light  # paper is white in the dark, too
    visit.tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    visit.tab.emulate_media(color_scheme="light")
    visit.tab.set_viewport_size({"width": 1280, "height": 900})
    visit.until("document.querySelector('#losses-data .main-svg').getBoundingClientRect().width > 400")


def test_without_scripts_all_text_is_there(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(file.as_uri())
    assert tab.locator("noscript p").is_visible()
    assert tab.locator("#fits [data-group=series] table").count() == tab.locator("#choose-series option").count()
    assert tab.locator("#fits [data-group=series] table").last.is_visible()
    context.close()
