"""Pages of many cells and runs in a browser: what is not shown is found, and they open soon."""

import itertools
import re

import pytest
import synthetic
from browser import chromium, column, needs_browser, opened, save
from playwright.sync_api import expect

from harness.analysis.summarize import summarize
from harness.reporting.page import page
from harness.reporting.render import Cell, Column, Table

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def many_cells(units, rates, seeds=(0, 1)):
    """Cells of two factors, each better than the one before; a further table with a row for each."""
    levels = {"units": list(map(str, range(units))), "rate": list(map(str, range(rates)))}
    runs = [synthetic.record({"units": unit, "rate": rate}, seed, 0.8 + 0.0002 * place + 0.0001 * seed)
            for place, (unit, rate) in enumerate(itertools.product(*levels.values())) for seed in seeds]
    records = synthetic.as_read(*runs)
    rows = tuple((Cell(f"row {place}"), Cell(f"{place} [1, 2]", place)) for place in range(units * rates))
    further = Table("Ranks", (Column("name", is_text=True), Column("rank")), rows, frozenset({(0, 1)}))
    return page.ablation_page(
        summarize("made_up", synthetic.plan(levels, runs), records), records,
        {synthetic.run_id(run): synthetic.curve(run) for run in runs}, (), {"Evidence": [further]})


def test_of_a_long_table_one_page_is_drawn_and_what_lies_on_others_is_found(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "_MANY", 20)
    with opened(browser, save(tmp_path, many_cells(10, 3))) as tab:
        rows = tab.locator("#cells tbody tr")
        expect(rows).to_have_count(25)
        assert column(tab, "#cells", 1)[:2] == ["0, 0", "0, 1"]
        assert tab.locator("#cells tbody tr:first-child").inner_text().startswith("0, 0\t2\t80.01 [79.")
        assert tab.locator("#cells th[scope=row]").count() == 25
        expect(tab.locator("#effects-note")).to_have_text(re.compile("^The first 25 of 30 cells"))
        tab.locator("#cells_wrapper").get_by_label("Next").click()
        expect(rows).to_have_count(5)
        assert column(tab, "#cells", 1)[0] == "8, 1"
        tab.get_by_label("Filter cells").fill('"9, 2"')
        expect(rows).to_have_count(1)
        expect(tab.locator("#curves-keys .name")).to_have_text(["units=9, rate=2"])
        rows.first.click()
        assert tab.locator("#detail-title").inner_text() == "units=9, rate=2"
        tab.keyboard.press("Escape")
        tab.get_by_label("Filter cells").fill("")
        tab.get_by_label("rate", exact=True).select_option("1")
        expect(rows).to_have_count(10)
        assert column(tab, "#cells", 1)[-1] == "9, 1"
        tab.locator("#cells thead th", has_text="test acc").click(click_count=2)
        expect(rows.first).to_contain_text("9, 1")
        ranks = tab.locator(".detail:visible")
        assert ranks.locator("tbody td:nth-child(2)").all_inner_texts()[:2] == ["0 [1, 2]", "1 [1, 2]"]
        assert ranks.locator("strong").all_inner_texts() == ["0 [1, 2]"]
        ranks.get_by_label("Filter rows").fill("row 29")
        expect(ranks.locator("tbody tr")).to_have_count(1)


@pytest.mark.slow
def test_a_thousand_runs_open_within_two_seconds(browser, tmp_path):
    levels = [f"option {place:03}" for place in range(200)]
    runs = [synthetic.record({"option": level}, seed, 0.8 + 0.0005 * place + 0.001 * seed, epochs=20)
            for place, level in enumerate(levels) for seed in range(5)]
    records = synthetic.as_read(*runs)
    content = page.ablation_page(summarize("made_up", synthetic.plan({"option": levels}, runs), records), records,
                                 {synthetic.run_id(run): synthetic.curve(run) for run in runs}, ())
    path = save(tmp_path, content)
    with opened(browser, path) as tab:
        assert tab.locator("#cells_info").inner_text() == "200 cells"
        tab.get_by_label("Filter runs").fill("option 123")
        expect(tab.locator("#runs tbody tr")).to_have_count(5)
        tab.locator("#runs tbody a").first.click()
        assert "option 123" in tab.locator("#detail").inner_text()
    assert min(main_thread_s(browser, path) for _ in range(3)) < 2


def main_thread_s(browser, path):
    """Seconds that a page keeps its thread busy until it is ready: what other work on the machine takes is no part."""
    context = browser.new_context(offline=True)
    tab = context.new_page()
    session = context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready=yes]", state="attached")
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    context.close()
    return metrics["TaskDuration"]
