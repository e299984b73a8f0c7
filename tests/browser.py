"""The Chromium that tests of pages drive: the system's, or the one that CHROMIUM names."""

import contextlib
import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = [pytest.mark.browser, pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: none on the PATH, and CHROMIUM names none")]


@contextlib.contextmanager
def chromium():
    """Starts a headless Chromium."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextlib.contextmanager
def opened(browser, path, *, width=1200, height=900, scheme="light"):
    """Opens a file without a network; whatever the page complains of, asks for or pops up fails the test."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: wrong.append(f"asks for {request.url[:200]}")
            if request.url.split(":")[0] not in ("file", "blob", "data") else None)
    page.goto(path.resolve().as_uri())
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    yield page
    assert wrong == []
    context.close()
