"""How far does a dense net get on MNIST, and what do augmentation and a longer schedule do for it?

The recipe is the one found for KMNIST, with nothing searched on MNIST.
Run: python -m harness.run --ablation=mnist_mlp_best      Cost: 15 runs of 2 to 23 min, Intel Xeon, 2 cores
"""

import dataclasses

from ablations import kmnist_mlp_best
from ablations.spec import Ablation

_KMNIST = kmnist_mlp_best.ABLATION
ABLATION: Ablation = dataclasses.replace(
    _KMNIST, question=_KMNIST.question.replace("KMNIST", "MNIST"),
    base=dataclasses.replace(_KMNIST.base, dataset="mnist"))
