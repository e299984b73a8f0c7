"""The five Fashion-MNIST questions asked of MNIST: the same networks, factors and seeds on the other data set.

Run: python -m harness.run --ablation=mnist_mlp      Cost: as the ablation on Fashion-MNIST
"""

import dataclasses

from ablations import (
    fashion_depth_width,
    fashion_l2_strength,
    fashion_mlp,
    fashion_optimizer,
    fashion_regularization,
)
from ablations.spec import Ablation


def _on_mnist(ablation: Ablation) -> Ablation:
    return dataclasses.replace(ablation, question=ablation.question.replace("Fashion-MNIST", "MNIST"),
                               base=dataclasses.replace(ablation.base, dataset="mnist"), claims=())


REGULARIZATION = _on_mnist(fashion_regularization.ABLATION)
DEPTH_WIDTH = _on_mnist(fashion_depth_width.ABLATION)
OPTIMIZER = _on_mnist(fashion_optimizer.ABLATION)
L2_STRENGTH = _on_mnist(fashion_l2_strength.ABLATION)
MLP = _on_mnist(fashion_mlp.ABLATION)
