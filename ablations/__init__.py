"""The shipped ablations, listed by hand. Knows no jax call and opens no file."""

import difflib
from collections.abc import Sequence

from ablations import (
    cifar10_cnn,
    cifar10_cnn_best,
    cifar10_fast,
    cifar10_finetune,
    cifar10_mlp_vs_cnn,
    cifar10_transfer,
    cifar10_transfer_best,
    cifar10_transfer_head,
    cifar10_transfer_width,
    cifar100,
    fashion_cnn_best,
    fashion_depth_width,
    fashion_l2_strength,
    fashion_mlp,
    fashion_optimizer,
    fashion_regularization,
    kmnist_mlp,
    kmnist_mlp_best,
    kmnist_split,
    mnist,
    mnist_mlp_best,
    quickstart,
)
from ablations.spec import Ablation

ABLATIONS: dict[str, Ablation] = {
    "quickstart": quickstart.ABLATION,
    "fashion_regularization": fashion_regularization.ABLATION,
    "fashion_depth_width": fashion_depth_width.ABLATION,
    "fashion_optimizer": fashion_optimizer.ABLATION,
    "fashion_l2_strength": fashion_l2_strength.ABLATION,
    "fashion_mlp": fashion_mlp.ABLATION,
    "fashion_cnn_best": fashion_cnn_best.ABLATION,
    "mnist_regularization": mnist.REGULARIZATION,
    "mnist_depth_width": mnist.DEPTH_WIDTH,
    "mnist_optimizer": mnist.OPTIMIZER,
    "mnist_l2_strength": mnist.L2_STRENGTH,
    "mnist_mlp": mnist.MLP,
    "mnist_mlp_best": mnist_mlp_best.ABLATION,
    "kmnist_mlp": kmnist_mlp.ABLATION,
    "kmnist_mlp_best": kmnist_mlp_best.ABLATION,
    "kmnist_split": kmnist_split.ABLATION,
    "cifar10_mlp_vs_cnn": cifar10_mlp_vs_cnn.ABLATION,
    "cifar10_cnn": cifar10_cnn.ABLATION,
    "cifar10_cnn_best": cifar10_cnn_best.ABLATION,
    "cifar10_fast": cifar10_fast.ABLATION,
    "cifar10_transfer": cifar10_transfer.ABLATION,
    "cifar10_transfer_best": cifar10_transfer_best.ABLATION,
    "cifar10_transfer_head": cifar10_transfer_head.ABLATION,
    "cifar10_transfer_width": cifar10_transfer_width.ABLATION,
    "cifar10_finetune": cifar10_finetune.ABLATION,
    "cifar100_mlp_vs_cnn": cifar100.MLP_VS_CNN,
    "cifar100_transfer": cifar100.TRANSFER,
    "cifar100_transfer_head": cifar100.TRANSFER_HEAD,
    "cifar100_transfer_width": cifar100.TRANSFER_WIDTH,
    "cifar100_finetune": cifar100.FINETUNE,
}


class UnknownAblationError(LookupError):
    """No ablation has this name; the message is one line.

    Attributes:
      choices: the names there are, those that come near first.
    """

    def __init__(self, message: str, choices: Sequence[str] = ()):
        super().__init__(message)
        self.choices = tuple(choices)


def get(name: str) -> Ablation:
    """Finds an ablation by name.

    Raises:
      UnknownAblationError: if there is none.
    """
    if name in ABLATIONS:
        return ABLATIONS[name]
    close = difflib.get_close_matches(name, ABLATIONS, 3)
    close += [other for other in ABLATIONS if name and name in other and other not in close]
    hint = f"; did you mean {' or '.join(close[:2])}?" if close else ""
    raise UnknownAblationError(f'no ablation "{name}"{hint}',
                               (*close, *(other for other in ABLATIONS if other not in close)))
