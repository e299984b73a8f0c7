"""Builds results folders of invented runs."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from harness.configs import as_json, config_hash
from harness.records import CURVE_COLUMNS, Cost, DatasetFacts, Folder, RunRecord, Scores, Timing

ENVIRONMENT = {"python": "3.11.7", "packages": {"jax": "0.10.2"}, "platform": "cpu", "device": "AMD EPYC, 2 cores",
               "device_count": 1, "git_commit": "0123456789abcdef0123456789abcdef01234567", "git_dirty": False}
DATASET = DatasetFacts(
    name="fashion_mnist", fingerprint="f" * 64, pixels="a" * 64, official=True, source="archives", warnings=(),
    class_names=tuple("abcdefghij"), image_shape=(28, 28, 1), train_examples=55_000, validation_examples=5_000,
    test_examples=10_000)


def record(labels: dict[str, str], seed: int, test_accuracy: float | None, *, status: str = "done", epochs: int = 8,
           ablation: str = "made_up", question: str = "Does it help?", **changes: Any) -> RunRecord:
    """Invents a record; `test_accuracy` is the best state's and None unless done."""
    config = {"type": "RunConfig", "dataset": "fashion_mnist", "validation_size": 5000, "batch_size": 128,
              "precision": "float32", "labels": labels}
    done = test_accuracy is not None
    best = Scores(epochs, 0.2, 0.93, 0.3, test_accuracy + 0.01, 0.31, test_accuracy) if done else None
    last = dataclasses.replace(best, test_accuracy=best.test_accuracy - 0.004) if best else None
    cost = Cost((), 1_234_567, 1_234_567, 13_300_000, 4_938_268, 4_938_268, 9_876_544, 30_000_000, 49_753_080,
                150_000_000, None)
    invented = RunRecord(
        ablation=ablation, question=question, labels=labels, seed=seed,
        cell=",".join(f"{name}={level}" for name, level in labels.items()) or "baseline",
        config=config, config_hash=config_hash(config), dataset=DATASET, environment=ENVIRONMENT,
        status=status, message="" if done else "stopped", epochs_trained=epochs, stopped_early=False,  # type: ignore[arg-type]
        best=best, last=last, cost=cost if done else None,
        timing=Timing(41.5 + seed, 2.1, 3.25, 13_200.0 + seed, 12_600.0 + seed, 3, 1) if done else None,
        started_at="2025-01-01T00:00:00", finished_at=f"2025-01-01T00:01:0{seed}")
    return dataclasses.replace(invented, **changes)


def run_id(invented: RunRecord) -> str:
    return f"{invented.cell},seed={invented.seed}".replace(" ", "_").replace("/", "_")


def as_read(*invented: RunRecord) -> dict[str, dict[str, Any]]:
    """Gives records as they come back from their files."""
    return {run_id(one): as_json(one) for one in invented}


def plan(factors: dict[str, list[str]], runs: list[RunRecord], question: str = "Does it help?") -> dict[str, Any]:
    return {"question": question, "factors": factors,
            "runs": [{"run_id": run_id(run), "cell": run.cell, "labels": run.labels, "seed": run.seed} for run in runs]}


def curve(invented: RunRecord) -> pd.DataFrame:
    epoch = np.arange(1, invented.epochs_trained + 1)
    final = invented.best.test_accuracy if invented.best else 0.3
    generator = np.random.default_rng([invented.seed, len(invented.cell)])
    accuracy = final - 0.25 * np.exp(-epoch / 3) + generator.normal(0, 0.004, len(epoch))
    loss = 2.5 * (1 - accuracy)
    columns = (epoch, loss * 0.8, accuracy + 0.02 * epoch / len(epoch), loss, accuracy)
    return pd.DataFrame(dict(zip(CURVE_COLUMNS, columns, strict=True)))


def predictions(invented: RunRecord, examples: int = 200, classes: int = 10) -> dict[str, np.ndarray]:
    """Invents test predictions that are right as often as the record says; the true classes are the same in all."""
    label = np.arange(examples, dtype=np.uint8) % classes
    wrong = np.random.default_rng([invented.seed, len(invented.cell)]).permutation(examples)
    wrong = wrong[round(examples * (invented.best.test_accuracy if invented.best else 0.0)):]
    predicted = label.copy()
    predicted[wrong] = (label[wrong] + 1) % classes
    return {"predicted": predicted, "probability": np.full(examples, 0.9, np.float16), "label": label}


def write(results_dir: pathlib.Path, planned: dict[str, Any] | None, *invented: RunRecord,
          with_predictions: bool = False) -> Folder:
    """Writes a results folder."""
    folder = Folder(results_dir, invented[0].ablation if invented else "made_up")
    if planned:
        folder.write_plan(planned["question"], planned["runs"], planned["factors"], planned.get("claims", ()),
                          planned.get("varied", ()))
    for one in invented:
        folder.write(run_id(one), one, curve(one), predictions(one) if with_predictions and one.best else {})
    return folder
