import contextlib
import dataclasses
import itertools
import re

import numpy as np
import pages
import pytest
import synthetic
from browser import chromium, column, needs_browser, opened, save
from playwright.sync_api import expect

from harness.analysis.summarize import summarize
from harness.reporting import colours
from harness.reporting.page import index as page_index
from harness.reporting.page import page
from harness.reporting.page.predictions import Shown, predictions_page
from harness.reporting.render import Cell, Column, Table
from harness.reporting.tables.evidence import CLAIMS

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def two_factors():
    """Six cells of three runs: one diverged and one out of memory; of the last cell one seed is done, two missing."""
    runs = [synthetic.record({"units": units, "dropout": dropout}, seed,
                             0.88 + 0.01 * row - 0.012 * column + 0.002 * seed * (row + 1))
            for row, units in enumerate(["64", "128", "256"]) for column, dropout in enumerate(["0", "0.5"])
            for seed in range(3)]
    planned = synthetic.plan({"units": ["64", "128", "256"], "dropout": ["0", "0.5"]}, runs)
    lost = {"status": "diverged", "message": "the loss was not finite in epoch 3"}
    runs[4] = synthetic.record(runs[4].labels, runs[4].seed, None, **lost)
    runs[7] = synthetic.record(runs[7].labels, runs[7].seed, None, status="oom")
    return runs[:-2], planned


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    runs, planned = two_factors()
    records = synthetic.as_read(*runs)
    figures = [pages.Picture(name, f"Figure {name}", f"Caption {name}", pages.PNG) for name in "AB"]
    seeds = Table("Seeds", (Column("seed", is_text=True), Column("p")),
                  ((Cell("one"), Cell("0.040", 0.04)), (Cell("none"), Cell("<0.001", 0.0001))))
    claims = Table(CLAIMS, (Column("claim", is_text=True),), ((Cell("it helps"),),))
    content = page.ablation_page(summarize("made_up", planned, records), records,
                                 {synthetic.run_id(run): synthetic.curve(run) for run in runs}, figures,
                                 {"Evidence": [claims], "Classes": [seeds]})
    return save(tmp_path_factory.mktemp("page"), content)


@pytest.fixture(scope="module")
def tab(browser, report):
    """The page opened once, since that is what takes long, for tests that leave it as they find it."""
    with opened(browser, report) as page:
        yield page


@pytest.fixture(scope="module")
def phone(browser, report):
    with opened(browser, report, width=390, height=800) as page:
        yield page


def legend(tab):
    tab.locator("#curves-keys .key").first.wait_for()
    return tab.locator("#curves-keys .name").all_text_contents()


def assert_colours_are_those_of_the_figures(tab, scheme):
    """Swatches, means and curves of all cells have the colours of the pictures; black is not seen on dark ground."""
    records = synthetic.as_read(*two_factors()[0])
    expected = list(colours.cell_colours(summarize("made_up", two_factors()[1], records)).values())
    assert expected[0] == colours.BASELINE
    first = 0 if scheme == "light" else 1

    def computed(selector, name):
        return tab.locator(selector).evaluate_all(f"all => all.map((one) => getComputedStyle(one).{name})")

    lines = "#curves-chart .scatterlayer path.js-line"
    curves = [ink for ink, width in zip(computed(lines, "stroke"), computed(lines, "strokeWidth"), strict=True)
              if width == "2px"]
    for seen in (curves, computed("#curves-keys line", "stroke"), computed("#cells .swatch", "backgroundColor"),
                 computed("#accuracy-chart .scatterlayer .points path", "fill")[-6:]):
        assert len(seen) == 6
        assert list(map(rgb, seen))[first:] == expected[first:]
        if scheme == "dark":
            assert rgb(seen[0]) == "#E7EAEE"


def rgb(css):
    return "#" + "".join(f"{int(part):02X}" for part in re.findall(r"\d+", css)[:3])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_whole_without_a_network_or_a_complaint(request, browser, report, scheme):
    with (contextlib.nullcontext(request.getfixturevalue("tab")) if scheme == "light"
          else opened(browser, report, scheme=scheme)) as tab:
        assert tab.locator("#cells tbody tr").count() == 6
        assert tab.locator("#runs_info").inner_text() == "16 runs"
        for chart in ("accuracy-chart", "difference-chart", "curves-chart"):
            assert tab.locator(f"#{chart} svg.main-svg").first.is_visible()
        assert len(legend(tab)) == 6
        assert tab.locator("main input[type=search]").count() == 1, "of the runs"
        assert tab.locator(".filters select").count() == 2
        assert_colours_are_those_of_the_figures(tab, scheme)
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")


def test_a_heading_sorts_by_mouse_and_by_keyboard(browser, report):
    with opened(browser, report) as tab:
        heading = tab.locator("#cells thead th", has_text="test acc")
        heading.click()
        first = tab.locator("#cells tbody tr > :nth-child(3)").first
        expect(first).to_have_text(re.compile(r"^87\.00"))
        ascending = [float(text.split()[0]) for text in column(tab, "#cells", 3)]
        assert ascending == sorted(ascending)
        heading.get_by_role("button").focus()
        tab.keyboard.press("Enter")
        expect(first).to_have_text(re.compile(r"^90\.60"))
        descending = [float(text.split()[0]) for text in column(tab, "#cells", 3)]
        assert descending == ascending[::-1]
        expect(tab.locator("#curves-keys .name").first).to_have_text("units=256, dropout=0")


def test_search_and_factors_filter_the_table_and_the_charts(tab):
    tab.get_by_label("dropout", exact=True).select_option("0.5")
    expect(tab.locator("#cells tbody tr")).to_have_count(3)
    assert column(tab, "#cells", 1) == ["64, 0.5", "128, 0.5", "256, 0.5"]
    expect(tab.locator("#curves-keys .key")).to_have_count(3)
    assert legend(tab) == ["units=64, dropout=0.5", "units=128, dropout=0.5", "units=256, dropout=0.5"]
    tab.get_by_label("dropout", exact=True).select_option("")
    expect(tab.locator("#cells tbody tr")).to_have_count(6)
    tab.get_by_label("Filter runs").fill("diverged")
    expect(tab.locator("#runs tbody tr")).to_have_count(1)
    assert column(tab, "#runs", 3) == ["diverged"]
    tab.get_by_label("Filter runs").fill("")
    expect(tab.locator("#runs_info")).to_have_text("16 runs")


def test_a_cell_leads_to_its_runs_with_the_keyboard_alone(tab):
    link = tab.locator("#cells tbody a").nth(1)
    link.focus()
    tab.keyboard.press("Enter")
    panel = tab.locator("#detail")
    expect(panel).to_be_visible()
    expect(panel.get_by_role("link", name="seed=")).to_have_count(3)
    panel.get_by_role("link", name="seed=1").press("Enter")
    tab.wait_for_selector("#detail .status.diverged")
    text = panel.inner_text()
    assert "the loss was not finite in epoch 3" in text
    assert ("python -m harness.run --ablation=made_up --seeds=1 --only=units=64,dropout=0.5,seed=1 "
            "--results_dir=again --data_dir=DIR") in text
    for known in ("git checkout 0123456789abcdef", "batch size", "AMD EPYC, 2 cores", "f" * 64, "baseline: 0"):
        assert known in text
    assert not re.search(r"[a-z]_(s|bytes|accuracy)\b", text)
    assert panel.locator("svg.main-svg").first.is_visible()
    tab.keyboard.press("Escape")
    assert not panel.is_visible()
    assert "#" not in tab.url
    assert link.evaluate("element => element === document.activeElement")


def test_a_run_has_an_address_of_its_own(tab, report):
    tab.goto(f"{report.as_uri()}#run=0")
    tab.reload()
    tab.wait_for_selector("html[data-ready=yes]", state="attached")
    assert tab.locator("#detail-title").inner_text() == "units=64,dropout=0,seed=0"
    assert tab.locator("#detail a", has_text="record.json").get_attribute("href") == (
        "runs/units%3D64%2Cdropout%3D0%2Cseed%3D0/record.json")
    tab.keyboard.press("Escape")
    expect(tab.locator("#detail")).to_be_hidden()


def point(tab, chart, told):
    """Moves the mouse over a chart until what it points at is told."""
    tab.locator(f"#{chart}").scroll_into_view_if_needed()
    area = tab.locator(f"#{chart} .nsewdrag").first
    for step in range(50):
        area.hover(position={"x": area.bounding_box()["width"] / 2 + step, "y": 80})
        tab.wait_for_timeout(100)
        if re.search(told, tab.locator("#curves-readout").inner_text()):
            return
    raise AssertionError(f"{chart} tells nothing")


def test_a_curve_tells_its_values_beside_the_chart_and_can_be_switched_off(tab):
    legend(tab)
    point(tab, "curves-chart", r"Epoch \d")
    key = tab.locator("#curves-keys .key").first
    assert re.fullmatch(r"units=64, dropout=0\d\d\.\d\d\s%", key.text_content())
    assert tab.locator(".hoverlayer .hovertext").count() == 0, "a box would cover the curves"
    lines = tab.locator("#curves-chart .scatterlayer .trace")
    drawn = lines.count()
    key.press("Enter")
    expect(lines).to_have_count(drawn - 2)
    assert key.get_attribute("aria-pressed") == "false"
    tab.get_by_label("validation loss").press("Space")
    expect(tab.locator("#curves-chart .ytitle")).to_have_text("loss (log scale)")
    key.press("Enter")
    expect(key).to_have_attribute("aria-pressed", "true")
    tab.get_by_label("validation accuracy").press("Space")
    expect(tab.locator("#curves-chart .ytitle")).to_have_text("accuracy (%)")


def test_the_theme_can_be_chosen_and_is_kept(tab):
    def ground():
        return tab.evaluate("getComputedStyle(document.body).backgroundColor")

    def ink():
        return tab.locator("#curves-chart .xtitle").evaluate("element => getComputedStyle(element).fill")

    light = ground(), ink()
    tab.get_by_role("button", name="Dark theme").click()
    dark = ground(), ink()
    assert dark[0] != light[0]
    assert dark[1] != light[1], "charts change with it"
    tab.reload()
    tab.wait_for_selector("html[data-ready=yes]", state="attached")
    assert ground() == dark[0]
    tab.get_by_role("button", name="Light theme").press("Enter")
    assert ground() == light[0]


def test_figures_enlarge_and_close(tab):
    button = tab.get_by_role("button", name="Enlarge: Figure A")
    button.focus()
    tab.keyboard.press("Enter")
    frame = tab.locator("#enlarged")
    assert frame.is_visible()
    assert "Caption A" in frame.inner_text()
    tab.keyboard.press("ArrowRight")
    assert "Caption B" in frame.inner_text()
    assert "Caption A" not in frame.inner_text()
    tab.keyboard.press("Escape")
    assert not frame.is_visible()


def test_one_table_is_unfolded_at_a_time_and_the_contents_stay_in_view(tab):
    chosen = tab.locator("#choose-table")
    titles = chosen.locator("option").all_text_contents()
    assert titles[0] == "What the source claims"
    shown = tab.locator(".detail:visible h3")
    assert shown.all_text_contents() == ["What the source claims"]
    chosen.select_option("Seeds")
    assert shown.all_text_contents() == ["Seeds"]
    tab.locator(".detail:visible thead th").nth(1).click()
    expect(tab.locator(".detail:visible tbody tr > :first-child").first).to_have_text("none")
    links = tab.locator(".contents a")
    assert links.all_text_contents() == ["Answer", "Accuracy", "Cells", "Curves", "Runs", "Tables", "Figures"]
    order = [tab.locator(link.get_attribute("href")).bounding_box()["y"] for link in links.all()]
    assert order == sorted(order)
    links.nth(4).click()
    expect(tab.locator(".contents [aria-current]")).to_have_text("Runs")
    expect(tab.get_by_role("heading", name="Runs", exact=True)).to_be_in_viewport()
    assert tab.locator(".contents").bounding_box()["y"] == 0


@pytest.mark.parametrize("address", ["", "#run=4", "#cell=1"])
def test_a_phone_scrolls_in_one_direction(phone, address):
    phone.evaluate("address => { location.hash = address }", address)
    expect(phone.locator("#detail")).to_be_visible(visible=bool(address))
    for element in ["html", "#detail"][:1 + bool(address)]:
        assert phone.locator(element).evaluate("element => element.scrollWidth <= element.clientWidth"), element
    if not address:
        for named in ("test acc", "difference"):
            box = phone.locator("#cells thead th", has_text=named).bounding_box()
            assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        assert phone.locator("#cells thead th:visible").count() == 3
        phone.get_by_role("button", name="All columns").click()
        assert phone.locator("#cells thead th:visible").count() > 8
        assert phone.locator(".contents a").last.bounding_box()["x"] < 390


@pytest.mark.parametrize("many", [100, pytest.param(5, marks=pytest.mark.slow)], ids=["short tables", "long ones"])
def test_hostile_text_is_shown_as_it_is_and_does_nothing(browser, tmp_path, monkeypatch, many):
    monkeypatch.setattr(page, "_MANY", many)
    path = save(tmp_path, pages.hostile_page(pages.HOSTILE))
    with opened(browser, path) as tab:
        assert "<script>window.pwned=1</script>" in column(tab, "#cells", 1)
        for place in range(0, 3 * len(pages.HOSTILE), 3):  # one of three seeds, whose texts are the same
            tab.evaluate(f"location.hash = 'run={place}'")
            tab.wait_for_selector("#detail .links")
        tab.keyboard.press("Escape")
        tab.locator("#runs thead th").first.click()
        assert tab.locator(".detail:visible").inner_text().count("<script>window.pwned=1</script>") == 4
        for figure in tab.locator(".gallery button").all()[:2]:
            figure.click()
            tab.keyboard.press("Escape")
        assert tab.evaluate("window.pwned") is None
        assert tab.locator("a[href^='javascript'], [onerror], [onmouseover], main b, svg a").count() == 0
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_page_of_several_baselines_marks_each_and_holds_a_run_against_its_own(browser, tmp_path):
    levels = {"net": ["mlp", "cnn"], "dropout": ["0", "0.5"]}
    runs = [synthetic.record({"net": net, "dropout": dropout}, seed, 0.9 + 0.01 * place + 0.001 * seed)
            for place, (net, dropout) in enumerate(itertools.product(*levels.values())) for seed in range(3)]
    records = synthetic.as_read(*runs)
    summary = summarize("made_up", dataclasses.replace(synthetic.plan(levels, runs), within=("net",)), records)
    path = save(tmp_path, page.ablation_page(
        summary, records, {synthetic.run_id(run): synthetic.curve(run) for run in runs}, ()))
    with opened(browser, path) as tab:
        tab.locator("#difference-chart svg.main-svg").first.wait_for()
        marked = tab.locator("#cells tbody tr", has_text="baseline")
        assert [row.split("\t")[0].strip() for row in marked.all_inner_texts()] == ["mlp, 0", "cnn, 0"]
        assert tab.locator("#difference-chart .annotation-text").all_text_contents() == ["baseline"] * 2
        swatches = tab.locator("#cells .swatch").evaluate_all(
            "all => all.map((one) => getComputedStyle(one).backgroundColor)")
        assert list(map(rgb, swatches)) == list(colours.cell_colours(summary).values())
        tab.evaluate(f"location.hash = 'run={list(records).index('net=cnn,dropout=0.5,seed=1')}'")
        tab.wait_for_selector("#detail .links")
        differing = tab.locator("#detail small", has_text="baseline: ").all_inner_texts()
        assert [text.strip() for text in differing] == ["baseline: 0"], "and not mlp, which is another's baseline"


def test_the_index_sorts_filters_and_leads_on(browser, report):
    runs, planned = two_factors()
    records = synthetic.as_read(*runs)
    summary = summarize("made_up", planned, records)
    index = report.parent.parent / "index.html"
    index.write_bytes(page_index.index_page([
        page_index.Entry(report.parent.name, summary, records, has_page=True, results_dir="my_results"),
        page_index.Entry("other", dataclasses.replace(summary, question="Another?"), records, has_page=False,
                         results_dir="my_results")]))
    with opened(browser, index, width=390) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.get_by_label("Filter ablations").fill("another")
        expect(tab.locator("#ablations tbody tr")).to_have_count(1)
        tab.get_by_label("Filter ablations").fill("")
        tab.get_by_role("link", name=report.parent.name).click()
        tab.wait_for_selector("#cells_wrapper")


def test_the_page_of_predictions_is_filtered_and_sorted_and_shows_hostile_names_as_text(browser, tmp_path):
    pixels = np.full((8, 6, 3), 200, np.uint8)
    hostile = pages.HOSTILE[0]
    content = predictions_page(f"made_up, {hostile}", ["accuracy 0.5000"], [
        Shown("a.png", pixels, [("cat", 0.75), ("dog", 0.25)], "cat"),
        Shown("b.png", pixels[..., :1], [("dog", 0.5), ("cat", 0.5)], "cat"),
        Shown(hostile, None, [], "", f"{hostile}: is no picture")])
    with opened(browser, save(tmp_path, content)) as tab:
        assert hostile in tab.locator("h1").inner_text()
        assert column(tab, "#predictions", 4) == ["0.7500\n0.2500", "0.5000\n0.5000", ""]
        assert tab.locator("#predictions img").evaluate_all("all => all.map((one) => one.naturalHeight)") == [8, 8]
        assert tab.locator("#predictions td.wrong").all_inner_texts() == ["dog\ncat"]
        assert hostile in tab.locator("#predictions .notice").inner_text()
        tab.locator("#predictions thead th", has_text="probability").click()
        expect(tab.locator("#predictions tbody tr").nth(1)).to_contain_text("b.png")
        tab.get_by_label("Filter predictions").fill("a.png")
        expect(tab.locator("#predictions tbody tr")).to_have_count(1)


def test_no_chart_offers_to_send_itself_anywhere(tab):
    tab.locator("#accuracy-chart .nsewdrag").hover()
    assert tab.locator(".modebar-btn").count() == 0
    assert tab.locator("#accuracy-chart [tabindex], #accuracy-chart a").count() == 0, "a picture has no stops inside"


def test_charts_follow_the_window_and_keep_their_names(browser, report):
    with opened(browser, report) as tab:
        names = tab.locator("#difference-chart .ytick text")
        expect(names).to_have_count(0)  # it lies beside the other chart, which has them
        tab.set_viewport_size({"width": 700, "height": 900})
        expect(names).to_have_count(6)
        width = tab.locator("#accuracy-chart").evaluate("chart => chart.clientWidth")
        assert tab.locator("#accuracy-chart .main-svg").first.evaluate("svg => svg.clientWidth") == width


def test_paper_is_white_and_has_all_rows_and_names_also_in_the_dark(browser, report):
    with opened(browser, report, scheme="dark") as tab:
        tab.locator("#curves-keys .key").first.wait_for()
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        tab.emulate_media(media="print")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        ink = tab.locator("#accuracy-chart .ytick text").first.evaluate("text => getComputedStyle(text).fill")
        assert rgb(ink) < "#66", "names are dark"
        assert len(column(tab, "#runs", 1)) == 16, "of ten a page"
        assert tab.locator(".detail:visible").count() == 2
        assert tab.locator("#difference-chart .ytick text").count() == 6
        tab.evaluate("dispatchEvent(new Event('afterprint'))")
        tab.emulate_media(media="screen")
        assert len(column(tab, "#runs", 1)) == 10
        assert tab.evaluate("document.documentElement.classList.contains('dark')")
