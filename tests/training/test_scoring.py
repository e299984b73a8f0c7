import dataclasses
import shutil

import numpy as np
import pytest
from small import small_dataset
from sweeps import ABLATION, execute

from ablations.spec import Factor
from harness import records
from harness.training import scoring

SOUND = dataclasses.replace(ABLATION, factors={"rate": Factor("optimizer.learning_rate", {"sound": 0.1})}, seeds=(0, 1))
RUNS = [run.run_id for run in SOUND.runs()]
LABELS = small_dataset().test.labels


def recall_of_first(predicted, labels):
    return (predicted[labels == 0] == 0).mean()


def surprise(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


@pytest.fixture(scope="module")
def with_logits(tmp_path_factory):
    folder = records.Folder(tmp_path_factory.mktemp("with_logits"), "made_up")
    execute(folder, dataclasses.replace(SOUND, overrides={"tta": "shift"}), store_logits=True)
    return folder


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    folder = records.Folder(tmp_path_factory.mktemp("without"), "made_up")
    execute(folder, SOUND)
    return folder


def test_the_rank_is_the_true_classs_place_among_the_logits_and_0_where_the_prediction_is_right(with_logits, without):
    for run_id in RUNS:
        stored = with_logits.predictions(run_id)
        assert (stored["logits"].dtype, stored["logits"].shape) == (np.float16, (len(LABELS), 4))
        np.testing.assert_array_equal(stored["rank"] == 0, stored["predicted"] == LABELS)
        by_hand = (stored["logits"] > stored["logits"][np.arange(len(LABELS)), LABELS][:, None]).sum(1)
        assert (stored["rank"] == by_hand).mean() > 0.99, "but for logits that half precision makes equal"
        assert len(set(stored["rank"])) == 4
        assert len(stored["tta_predicted"]) == len(LABELS)
        bare = without.predictions(run_id)
        assert bare.keys() == {"predicted", "probability", "label", "rank"}
        np.testing.assert_array_equal(bare["rank"], stored["rank"])


def test_metrics_of_ones_own_are_computed_from_what_is_stored_and_kept_beside_the_record(with_logits):
    told = []
    scoring.score(RUNS, {"first": recall_of_first, "surprise_loss": surprise}, with_logits, told.append)
    for run_id, record in with_logits.records().items():
        kept = with_logits.scores(run_id)
        assert kept["surprise_loss"] == pytest.approx(record.best.test_loss, abs=1e-3)
        predicted = with_logits.predictions(run_id)["predicted"]
        assert kept["first"] == (predicted[LABELS == 0] == 0).mean()
    assert told == []
    scoring.score(RUNS, {"first": lambda labels: 0.25}, with_logits, told.append)
    assert with_logits.scores(RUNS[0]) == {"first": 0.25}, "an edited metric replaces its earlier values"


def test_a_damaged_file_of_one_run_costs_no_other_run_its_scores(with_logits, tmp_path):
    folder, told = records.Folder(tmp_path, "made_up"), []
    shutil.copytree(with_logits.path, folder.path)
    (folder.run(RUNS[0]) / "predictions.npz").write_bytes(b"cut")
    (folder.run(RUNS[1]) / "scores.json").write_text("{")
    scoring.score(RUNS, {"first": recall_of_first}, folder, told.append)
    assert list(folder.scores(RUNS[1])) == ["first"]
    assert len(told) == 1
    assert told[0].startswith(f"no value of first: {folder.run(RUNS[0]) / 'predictions.npz'} cannot be read")
    (folder.run(RUNS[1]) / "scores.json").write_text("{")
    scoring.score(RUNS, {"broken": broken}, folder, told.append)
    assert folder.scores(RUNS[1]) == {}


def broken(labels):
    raise KeyError("nothing")


def test_what_has_no_value_is_absent_and_told_with_its_reason(without):
    told = []
    scoring.score(RUNS, {"first": recall_of_first, "surprise_loss": surprise, "broken": broken,
                         "undefined": lambda labels: float("nan")}, without, told.append)
    assert list(without.scores(RUNS[0])) == ["first"]
    assert len(told) == 3
    assert "trained without --store_logits, so that probabilities are not known" in told[0]
    assert "broken: KeyError: 'nothing' (2 runs, the first is rate=sound,seed=0)" in told[1]
    assert "it gives nan" in told[2]
