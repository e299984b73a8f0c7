"""The questions of CIFAR-10 asked of CIFAR-100: the same networks, factors and seeds on a hundred classes.

Run: python -m harness.run --ablation=cifar100_transfer --weights_dir=DIR      Cost: as the ablation on CIFAR-10
"""

import dataclasses

from ablations import (
    cifar10_finetune,
    cifar10_mlp_vs_cnn,
    cifar10_transfer,
    cifar10_transfer_head,
    cifar10_transfer_width,
)
from ablations.spec import Ablation


def _on_cifar100(ablation: Ablation) -> Ablation:
    return dataclasses.replace(ablation, question=ablation.question.replace("CIFAR-10", "CIFAR-100"),
                               base=dataclasses.replace(ablation.base, dataset="cifar100"), claims=())


MLP_VS_CNN = _on_cifar100(cifar10_mlp_vs_cnn.ABLATION)
TRANSFER = _on_cifar100(cifar10_transfer.ABLATION)
TRANSFER_HEAD = _on_cifar100(cifar10_transfer_head.ABLATION)
TRANSFER_WIDTH = _on_cifar100(cifar10_transfer_width.ABLATION)
FINETUNE = _on_cifar100(cifar10_finetune.ABLATION)
