"""How far does a CNN get on CIFAR-10 from scratch in twenty epochs in bfloat16, and how much do seeds differ?

The network and the recipe of `cifar10_cnn_best`, eight epochs longer; no factor, and seeds enough to draw a
distribution. Meant for an accelerator, which is to take ten seconds a run and reach 94 %; it runs anywhere.
Run: python -m harness.run --ablation=cifar10_fast      Cost: 25 runs, not trained yet
"""

import dataclasses

from ablations import cifar10_cnn_best
from ablations.spec import Ablation, ScheduleConfig

ABLATION = Ablation(
    question="How far does a CNN get on CIFAR-10 in twenty epochs in bfloat16, and how much do its seeds differ?",
    base=dataclasses.replace(cifar10_cnn_best.ABLATION.base, epochs=20, precision="bfloat16",
                             schedule=ScheduleConfig("linear", warmup_epochs=4.0)),
    seeds=tuple(range(25)),
)
