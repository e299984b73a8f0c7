"""How far does a CNN get on CIFAR-10 within ten seconds a run on a GPU, and how much do its seeds differ?

The network and the recipe of `cifar10_cnn_best`, eight epochs longer, in bfloat16; no factor, and seeds enough to draw
a distribution. Meant for an accelerator; it runs anywhere.
Run: python -m harness.run --ablation=cifar10_fast      Cost: 25 runs, not trained yet
"""

import dataclasses

from ablations import cifar10_cnn_best
from ablations.spec import Ablation, ScheduleConfig

ABLATION = Ablation(
    question="How far does a CNN get on CIFAR-10 within ten seconds a run on a GPU, and how much do seeds differ?",
    base=dataclasses.replace(cifar10_cnn_best.ABLATION.base, epochs=20, precision="bfloat16",
                             schedule=ScheduleConfig("linear", warmup_epochs=4.0)),
    seeds=tuple(range(25)),
)
