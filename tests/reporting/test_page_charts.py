"""What a page's charts leave in view."""

import pytest
import synthetic
from browser import chromium, needs_browser, opened, save
from playwright.sync_api import expect

from harness.analysis.summarize import summarize
from harness.reporting.page import page

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_a_cell_far_off_flattens_no_chart_and_is_named(browser, tmp_path):
    runs = [synthetic.record({"a": level}, seed, value + 0.002 * seed)
            for level, value in {"x": 0.90, "y": 0.91, "z": 0.905, "wild": 0.30}.items() for seed in range(3)]
    records = synthetic.as_read(*runs)
    content = page.ablation_page(summarize("made_up", synthetic.plan({"a": ["x", "y", "z", "wild"]}, runs), records),
                                 records, {}, [], {})
    with opened(browser, save(tmp_path, content)) as tab:
        expect(tab.locator("#effects-note")).to_have_text("Beyond an axis: wild (30.20 [29.70, 30.70]\u202f%).")
        ticks = [float(text) for text in tab.locator("#accuracy-chart .xtick text").all_text_contents()]
        assert min(ticks) > 85


def test_a_cell_that_is_clearly_ahead_is_no_cell_far_off(browser, tmp_path):
    runs = [synthetic.record({"a": level}, seed, value + 0.0005 * seed)
            for level, value in {"x": 0.900, "y": 0.901, "z": 0.920}.items() for seed in range(3)]
    records = synthetic.as_read(*runs)
    content = page.ablation_page(summarize("made_up", synthetic.plan({"a": ["x", "y", "z"]}, runs), records),
                                 records, {}, [], {})
    with opened(browser, save(tmp_path, content)) as tab:
        expect(tab.locator("#effects-note")).to_have_text("")
