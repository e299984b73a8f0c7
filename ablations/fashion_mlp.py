"""How much dropout does the 784-256-128-10 dense net need on Fashion-MNIST?

Its source has two dropouts of rates it does not give; Adam at Keras's default rate, 235,146 parameters.
Run: python -m harness.run --ablation=fashion_mlp      Cost: 20 runs of 15 to 20 s, AMD EPYC, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig

ABLATION = Ablation(
    question="How much dropout does a 784-256-128-10 dense net need on Fashion-MNIST?",
    base=RunConfig(dataset="fashion_mnist", model=MLPConfig(hidden=(256, 128)), batch_size=128, epochs=20),
    factors={"dropout": Factor("model.dropout", {"0": 0.0, "0.1": 0.1, "0.3": 0.3, "0.5": 0.5})},
    seeds=(0, 1, 2, 3, 4),
    claims=sources.FASHION_MLP,
)
