import pytest

from harness.reporting.page.words import plainly, told


@pytest.mark.parametrize(("value", "text"), [
    (0.04, "0.04"), (1e-05, "1e-05"), (0.12345678901, "0.12345678901"), (3, "3"), (250000, "250,000"), (True, "yes"),
    (None, "n/a"), ([3, 3], "3, 3"), ([], "none"), ("relu", "relu")])
@pytest.mark.parametrize("field", ["p", "clear", "mixed", "warmup_s", "target_accuracy", "cache_bytes", "shape"])
def test_a_field_of_a_users_config_keeps_its_name_and_its_value_whatever_records_call_so(field, value, text):
    assert plainly({"model": {field: value}}, "config") == [(f"config: model: {field.replace('_', ' ')}", text)]


def test_configs_in_a_list_are_numbered_and_told_field_by_field():
    blocks = [{"type": "Block", "width": 8}, {"type": "Block", "width": 16}]
    assert plainly({"blocks": blocks}) == [
        ("blocks: 1: type", "Block"), ("blocks: 1: width", "8"), ("blocks: 2: type", "Block"),
        ("blocks: 2: width", "16")]


def test_the_same_names_in_a_record_have_its_words_and_units():
    assert told({"warmup_s": 3.0, "target_accuracy": 0.9, "clear": 2}) == [
        ("warmup", "3.00 s"), ("target accuracy", "90.00 %"), ("pairs with p < 0.05", "2")]
