"""Which records belong together: what may be averaged in a cell, and what may be compared between cells.

`harness.executor` asks before it trains, `harness.summary` before it averages.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.configs import config_differences, differences

Record = Mapping[str, Any]


class MixtureError(Exception):
    """Records that may not share a row or a table; the message is one line."""


def refuse_mixtures(records: Iterable[Record], varied: Iterable[str] = ()) -> None:
    """Refuses records that would make a mean or a difference of unlike things.

    A cell's records must agree in configuration, data and device. Cells that are compared must agree in device, in
    precision unless a factor varies it, and in data and backbone weights if they name the same.

    Args:
      records: of one ablation.
      varied: paths of the fields that its factors set.

    Raises:
      MixtureError: naming the runs and the fields.
    """
    def device(record: Record) -> Any:
        return {"environment": {key: record["environment"].get(key) for key in ("platform", "device")}}

    def data(record: Record) -> Any:
        return {"dataset": {"fingerprint": record["dataset"]["fingerprint"]}}

    def cells_differ(one: Record, other: Record) -> list[str]:
        return [*config_differences(one["config"], other["config"], "config"),
                *differences(data(one) | device(one), data(other) | device(other))]

    def compared_facts(record: Record) -> Any:
        if "precision" in varied:
            return device(record)
        return {"config": {"precision": record["config"].get("precision")}, **device(record)}

    def data_named(record: Record) -> Any:
        return record["config"].get("dataset"), record["config"].get("validation_size")

    records, varied = list(records), set(varied)
    if twice := [name for name, number in Counter(map(_name, records)).items() if number > 1]:
        raise MixtureError(f"more than one record of {'; '.join(twice)}: move all but one out of runs/")
    _refuse(records, lambda record: record["cell"], cells_differ)
    _refuse(records, data_named, _in(data))
    _refuse(records, lambda record: None, _in(compared_facts))
    _refuse([record for record in records if record.get("backbone")], lambda record: record["backbone"]["name"],
            _in(lambda record: {"backbone": {"weights_sha256": record["backbone"]["weights_sha256"]}}))


def _in(facts: Callable[[Record], Any]) -> Callable[[Record, Record], list[str]]:
    return lambda one, other: differences(facts(one), facts(other))


def _refuse(records: Iterable[Record], scope: Callable[[Record], Any],
            differ: Callable[[Record, Record], list[str]]) -> None:
    first: dict[Any, Record] = {}
    found = []
    for record in records:
        other = first.setdefault(scope(record), record)
        if changed := differ(other, record):
            found.append(f"{_name(other)} and {_name(record)} differ in {', '.join(changed)}")
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise MixtureError("runs that do not belong together are neither averaged nor compared: "
                           f"{'; '.join(found[:3])}{more}. Keep one kind apart: train into another --results_dir, "
                           "or move its folders out of runs/")


def _name(record: Record) -> str:
    return f"{record['cell']},seed={record['seed']}"
