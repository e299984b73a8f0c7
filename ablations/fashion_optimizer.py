"""SGD with momentum or Adam for a dense net on Fashion-MNIST, and at which learning rate?

Run: python -m harness.run --ablation=fashion_optimizer      Cost: 24 runs of 23 to 32 s, AMD EPYC, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig
from models import MLPConfig

ABLATION = Ablation(
    question="SGD with momentum 0.9 or Adam for a dense net on Fashion-MNIST, and at which learning rate?",
    base=RunConfig(dataset="fashion_mnist", model=MLPConfig(), batch_size=128, epochs=20),
    factors={
        "optimizer": Factor("optimizer", {
            "sgd": OptimizerConfig("sgd", momentum=0.9),
            "adam": OptimizerConfig("adam"),
        }),
        "learning_rate": Factor("optimizer.learning_rate", {
            "0.01": 0.01, "0.1": 0.1, "0.001": 0.001, "0.0001": 0.0001}),
    },
    seeds=(0, 1, 2),
    claims=(sources.lowest_test_error("optimizer and learning rate"), sources.ADAM),
)
