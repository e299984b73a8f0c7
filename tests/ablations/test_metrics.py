import pytest

from ablations import metrics
from ablations.spec import Ablation, RunConfig, SpecError

BASE = RunConfig(dataset="digits")


def by_class(predicted, labels):
    return 0.0


@pytest.mark.parametrize(("given", "message"), [
    ({"kappa": 0.5}, "kappa must be a function, not 0.5"), ({"Kappa": by_class}, "small letters"),
    ({"macro_f1": by_class}, "macro_f1 is there already"),
    ({"kappa": lambda truth, predicted: 0.0}, "some of probabilities, logits, predicted, labels.*are predicted, truth"),
    ({"kappa": lambda: 0.0}, "some of probabilities"), ([by_class], "must be a dict"),
])
def test_what_is_no_metric_is_refused_in_one_line(given, message):
    with pytest.raises(SpecError, match=message) as caught:
        Ablation("Why?", BASE, metrics=given)
    assert "\n" not in str(caught.value)


def test_logits_are_needed_where_a_metric_asks_for_more_than_classes():
    assert not metrics.need_logits([by_class])
    assert metrics.need_logits([by_class, lambda probabilities, labels: 0.0])
    assert metrics.need_logits([lambda logits, labels, temperature=1.0: 0.0])
    assert Ablation("Why?", BASE, metrics={"kappa": by_class}).metrics["kappa"] is by_class
