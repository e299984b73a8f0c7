"""What does dropout 0.3 do for a one-block CNN of 4.2 million parameters on CIFAR-10?

The source trains it for 30 epochs at batch 32 and claims 88.48 % ("of the model", beside training) and 69.39 % (test).
Run: python -m harness.run --ablation=cifar10_cnn      Cost: 6 runs of 7 to 16 min, Intel Xeon, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, RunConfig
from models import CNNConfig

ABLATION = Ablation(
    question="What does dropout 0.3 do for a one-block CNN of 4.2 million parameters on CIFAR-10?",
    base=RunConfig(dataset="cifar10", model=CNNConfig(filters=(32,), padding="same", dense=(512,)), batch_size=32,
                   epochs=30),
    factors={"dropout": Factor("model.dense_dropout", {"0.3": 0.3, "0": 0.0})},
    seeds=(0, 1, 2),
    claims=sources.CIFAR10_CNN,
)
