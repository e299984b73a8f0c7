"""Pictures are drawn where something changed, and only there."""

import pytest
import synthetic

from harness.analysis.cells import View
from harness.records.loaded import Loaded
from harness.reporting import files
from harness.reporting.figures import kept, style


@pytest.fixture
def drawn(monkeypatch):
    """Counts what is drawn."""
    made = []

    def render(draw, *, vector, pdf):
        made.append(draw)
        return style.Picture(b"\x89PNG %d" % len(made), b"%PDF" if vector and pdf else None)

    monkeypatch.setattr(style, "render", render)
    return made


def runs():
    return [synthetic.record({"a": level}, seed, 0.8 + 0.01 * seed) for level in "xy" for seed in range(2)]


def report(folder, **asked):
    """Reports a folder, and leaves the files there."""
    found = files.contents(Loaded(folder), View(), **asked)[1]
    for name, content in found.items():
        if content:
            (folder.path / name).write_bytes(content)
    return found


@pytest.fixture
def folder(tmp_path):
    return synthetic.write(tmp_path, synthetic.plan({"a": ["x", "y"]}, runs()), *runs())


def test_nothing_is_drawn_twice_and_the_files_are_the_same(folder, drawn):
    first = report(folder)
    number = len(drawn)
    assert number >= 4
    assert report(folder) == first
    assert len(drawn) == number


@pytest.mark.parametrize("change", ["a record", "a picture", "the code"])
def test_what_changed_is_drawn_anew(folder, drawn, monkeypatch, change):
    report(folder)
    number = len(drawn)
    if change == "a record":
        later = synthetic.record({"a": "x"}, 2, 0.9)
        folder.write(synthetic.run_id(later), later, synthetic.curve(later), {})
    elif change == "a picture":
        (folder.path / "effects.png").write_bytes(b"cut off")
    else:
        monkeypatch.setattr(kept, "_DRAWING", kept._DRAWING[:1])
    report(folder)
    assert len(drawn) - number == (1 if change == "a picture" else number)


def test_pictures_for_print_come_when_asked_for_and_are_kept_up_from_then_on(folder, drawn):
    assert not any(content for name, content in report(folder).items() if name.endswith(".pdf"))
    assert report(folder, pdf=True)["effects.pdf"] == b"%PDF"
    assert report(folder)["effects.pdf"] == b"%PDF"


def test_pages_alone_show_the_pictures_that_lie_there(folder, drawn):
    report(folder)
    (folder.path / "effects.png").write_bytes(b"\x89PNG of another day")
    number = len(drawn)
    found = report(folder, pages_alone=True)
    assert len(drawn) == number
    assert not any(name.endswith((".png", ".json")) for name in found)


@pytest.mark.parametrize("note", ["", "[]", '{"inputs": 1}', '{"files": []}'])
def test_a_note_that_cannot_be_read_has_all_drawn(folder, drawn, note):
    report(folder)
    number = len(drawn)
    (folder.path / kept.NAME).write_text(note)
    report(folder)
    assert len(drawn) == 2 * number
