"""How far is a dense net of 4,000 hidden units from a two-block CNN on CIFAR-10 after ten epochs?

The source gives the number of units, the two blocks and the epochs; filters and dense tail are chosen here.
Run: python -m harness.run --ablation=cifar10_mlp_vs_cnn      Cost: 6 runs of 160 to 500 s, AMD EPYC, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, RunConfig
from models import CNNConfig, MLPConfig

ABLATION = Ablation(
    question="How far is a dense net of 4,000 hidden units from a two-block CNN on CIFAR-10 after ten epochs?",
    base=RunConfig(dataset="cifar10", model=MLPConfig(), batch_size=128, epochs=10),
    factors={"network": Factor("model", {
        "mlp": MLPConfig(hidden=(2000, 2000)),
        "cnn": CNNConfig(filters=(32, 64), dense=(64,)),
    })},
    seeds=(0, 1, 2),
    claims=sources.CIFAR10_MLP_VS_CNN,
)
