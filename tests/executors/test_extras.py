import importlib

import pytest

from harness.executors import extras, on_ray


def absent(monkeypatch, package):
    whole = importlib.import_module

    def missing(name, *more):
        if name == package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return whole(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)


def test_a_missing_extra_is_one_line_that_names_it(monkeypatch):
    absent(monkeypatch, "ray")
    with pytest.raises(extras.MissingExtraError, match=r"--executor=ray needs ray.* -e '\.\[ray\]'"), \
            on_ray._connected("auto"):
        pass


def test_slots_follow_from_what_a_cohort_is_given():
    resources = {"CPU": 8.0, "GPU": 2.0}
    for cpus, gpus, slots in ((1, 0, 8), (2, 0, 4), (1, 0.5, 4), (1, 1, 2), (0.5, 0, 16), (100, 0, 1)):
        assert on_ray._slots(resources, on_ray.Cluster(cpus=cpus, gpus=gpus)) == slots
