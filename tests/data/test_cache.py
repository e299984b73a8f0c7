import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from harness.data import cache


@pytest.fixture(params=[Unix, MacOS, Windows])
def platform(request, monkeypatch):
    monkeypatch.setattr(platformdirs, "PlatformDirs", request.param)
    return request.param


def test_a_variable_names_the_folder_on_every_platform(platform, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder("datasets") == tmp_path / "image_ablation_harness/datasets"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder("weights") == tmp_path / "elsewhere/image_ablation_harness/weights"


@pytest.mark.parametrize("unset", [None, ""])
@pytest.mark.parametrize(("platform", "place"), [(Unix, ".cache"), (MacOS, "Library/Caches")], indirect=["platform"])
def test_else_it_is_where_the_platform_keeps_caches(platform, place, unset, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if unset is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
    assert cache.folder("datasets") == tmp_path / place / "image_ablation_harness/datasets"
    assert not any(tmp_path.iterdir()), "nothing is made before it is needed"
