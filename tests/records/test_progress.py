import json

import pytest
from watched import IDS, progress

from harness import records
from harness.records.configs import as_json


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "made_up").mkdir()
    return records.Folder(tmp_path, "made_up")


def test_what_is_written_is_read_again(folder):
    assert folder.progress() is None
    folder.keep_progress(progress())
    assert folder.progress() == progress()


def test_what_an_earlier_launch_wrote_besides_is_left_out(folder):
    stored = as_json(progress()) | {"trained_epochs": 11, "training_s": 110.0}
    del stored["compiling_since"]
    (folder.path / "progress.json").write_text(json.dumps(stored))
    assert folder.progress() == progress()


DAMAGES = [
    {"pid": "1"}, {"pid": -1}, {"pid": 2**70}, {"written": "now"}, {"written": float("nan")}, {"written": -1.0},
    {"process_started": float("inf")}, {"host": None}, {"runs": []}, {"runs": {IDS[0]: None}}, {"runs": None},
    {"runs": {IDS[0]: {"state": "training"}}}, {"runs": {IDS[0]: {"state": "odd", "epoch": 1, "epochs": 2}}},
    {"runs": {IDS[0]: {"state": "done", "epoch": -1, "epochs": 2}}}, {"left_s": float("inf")}, {"compiling_since": "x"},
    {"runs": {IDS[0]: {"state": "training", "epoch": 1, "epochs": 2, "train_loss": "high"}}}]


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_field_of_another_form_is_one_line_that_names_the_file_and_the_mend(folder, damage):
    (folder.path / "progress.json").write_text(json.dumps(as_json(progress()) | damage))
    with pytest.raises(records.RecordError) as failed:
        folder.progress()
    [line] = str(failed.value).splitlines()
    assert "progress.json" in line
    assert line.endswith("; move the file away to have it written again")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"host": "a"}'],
                         ids=lambda content: repr(content[:9]))
def test_a_damaged_file_is_one_line_too(folder, content):
    (folder.path / "progress.json").write_bytes(content)
    with pytest.raises(records.RecordError, match=r"progress\.json .*; move the file away") as failed:
        folder.progress()
    assert "\n" not in str(failed.value)
