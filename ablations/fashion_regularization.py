"""Do batch norm, dropout and L2 help a small CNN on Fashion-MNIST, and do batch norm and dropout add up?

Run: python -m harness.run --ablation=fashion_regularization      Cost: 25 runs of 9 to 19 min, two at a time, Intel
Xeon, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig
from models import CNNConfig

REGULARIZERS = Factor("model", {
    "none": CNNConfig(),
    "batch_norm": CNNConfig(batch_norm=True),
    "dropout": CNNConfig(dropout=0.1),
    "l2": CNNConfig(l2_kernel=0.01, l2_bias=0.01),
    "batch_norm+dropout": CNNConfig(batch_norm=True, dropout=0.1),
})

ABLATION = Ablation(
    question="Do batch norm, dropout and L2 help a two-block CNN on Fashion-MNIST, and do the first two add up?",
    base=RunConfig(dataset="fashion_mnist", model=CNNConfig(), optimizer=OptimizerConfig("adam", learning_rate=0.01),
                   batch_size=128, epochs=20),
    factors={"regularizer": REGULARIZERS},
    seeds=(0, 1, 2, 3, 4),
    claims=sources.FASHION_REGULARIZATION,
)
