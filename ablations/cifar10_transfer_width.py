"""What does a backbone of a third of the width cost in accuracy on CIFAR-10?

Run: python -m harness.run --ablation=cifar10_transfer_width --weights_dir=DIR
Cost: 12 runs of 2 to 44 s, two at a time; before them features, a minute (AMD EPYC, 2 cores)
"""


from ablations import cifar10_transfer
from ablations.spec import Ablation, Factor

ABLATION = Ablation(
    question="What does MobileNetV2 at width 0.35 cost in accuracy on CIFAR-10, against 1.0?",
    base=cifar10_transfer.ABLATION.base,
    factors={
        "width": Factor("model.width", {"1.0": 1.0, "0.35": 0.35}),
        "head": cifar10_transfer.ABLATION.factors["head"],
    },
    seeds=(0, 1, 2),
)
