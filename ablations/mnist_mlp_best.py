"""How far does a dense net get on MNIST, and what does augmentation do for it?

The recipe is the one found for KMNIST, with nothing searched on MNIST.
Run: python -m harness.run --ablation=mnist_mlp_best      Cost: 6 runs, not trained yet
"""

import dataclasses

from ablations import kmnist_mlp_best
from ablations.spec import Ablation

_KMNIST = kmnist_mlp_best.ABLATION
ABLATION: Ablation = dataclasses.replace(
    _KMNIST, question="How far does a dense net get on MNIST, and what does augmentation do for it?",
    base=dataclasses.replace(_KMNIST.base, dataset="mnist", epochs=60))
