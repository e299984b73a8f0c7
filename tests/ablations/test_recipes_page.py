import dataclasses
import re

import pytest
from place import ROOT

from ablations.spec import AugmentConfig, OptimizerConfig, RunConfig, ScheduleConfig, is_traced

PAGE = (ROOT / "ablations" / "RECIPES.md").read_text()
NOT_A_RECIPE = {"dataset", "model", "optimizer", "schedule", "augment", "batch_size", "early_stopping", "train_size",
                "validation_size"}


@pytest.mark.parametrize("config", [OptimizerConfig, ScheduleConfig, AugmentConfig, RunConfig])
def test_every_field_is_on_the_page_and_traced_there_if_it_is(config):
    rows = "\n".join(row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `"))
    for field in dataclasses.fields(config):
        if field.name not in NOT_A_RECIPE:
            marks = re.findall(rf"[`.]{field.name}`( \*\*t\*\*)?", rows)
            assert {bool(mark) for mark in marks} == {is_traced(field)}, field.name


def test_the_budget_on_the_page_is_the_default():
    assert f"| `epochs` or `steps` | {RunConfig(dataset='mnist').epochs} |" in PAGE
