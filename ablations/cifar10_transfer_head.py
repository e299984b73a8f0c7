"""Which parts of the head matter on frozen MobileNetV2 features: batch norm, dropout, hidden layers?

Run: python -m harness.run --ablation=cifar10_transfer_head --weights_dir=DIR
Cost: 36 runs of 3 to 43 s, two at a time; before them features, 4 min (AMD EPYC, 2 cores)
"""

import dataclasses

from ablations import cifar10_transfer
from ablations.spec import Ablation, Factor
from models import TransferConfig

ABLATION = Ablation(
    question="Which parts of the head matter on frozen MobileNetV2 features of CIFAR-10?",
    base=dataclasses.replace(cifar10_transfer.ABLATION.base, model=TransferConfig(resolution=160)),
    factors={
        "hidden": Factor("model.hidden", {"0": (), "1": (256,), "2": (256, 128)}),
        "batch norm": Factor("model.batch_norm", {"off": False, "on": True}),
        "dropout": Factor("model.dropout", {"0": 0.0, "0.3": 0.3}),
    },
    seeds=(0, 1, 2),
)
