"""The five Fashion-MNIST questions asked of MNIST: the same networks and factors on the other data set.

Run: python -m harness.run --ablation=mnist_mlp      Cost: as the ablation on Fashion-MNIST
"""

import dataclasses

from ablations import (
    fashion_depth_width,
    fashion_l2_strength,
    fashion_mlp,
    fashion_optimizer,
    fashion_regularization,
    sources,
)
from ablations.claim import Claim
from ablations.spec import Ablation


def _on_mnist(ablation: Ablation, *claims: Claim) -> Ablation:
    return dataclasses.replace(ablation, question=ablation.question.replace("Fashion-MNIST", "MNIST"),
                               base=dataclasses.replace(ablation.base, dataset="mnist"), claims=claims)


# Runs of 9 to 12 min, two at a time, Intel Xeon, 2 cores.
REGULARIZATION = dataclasses.replace(
    _on_mnist(fashion_regularization.ABLATION, sources.lowest_test_error("kind of regularization")), seeds=(0, 1, 2))
# The first is of the notebook that trains on both.
DEPTH_WIDTH = _on_mnist(fashion_depth_width.ABLATION, fashion_depth_width.ABLATION.claims[0])
OPTIMIZER = _on_mnist(fashion_optimizer.ABLATION, fashion_optimizer.ABLATION.claims[0])
L2_STRENGTH = _on_mnist(fashion_l2_strength.ABLATION, fashion_l2_strength.ABLATION.claims[0])
MLP = _on_mnist(fashion_mlp.ABLATION)
