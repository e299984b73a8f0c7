import pathlib

import pytest

from harness.data import cache
from harness.records import RecordError
from harness.records.files import check_writable, in_home


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder, as services have."""
    monkeypatch.delenv("HOME", raising=False)

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_the_mend_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^~: this user has no home folder; set HOME=DIR, or both"):
        cache.folder("datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder("datasets") == tmp_path / "image_ablation_harness" / "datasets"
    assert in_home("data") == pathlib.Path("data")


def test_looking_whether_a_folder_may_be_written_leaves_nothing(tmp_path):
    check_writable(tmp_path / "results" / "mine")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_may_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="give a folder that may be written with --results_dir=DIR"):
        check_writable(tmp_path / "file" / "mine")
