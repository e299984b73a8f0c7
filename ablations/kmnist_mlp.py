"""Does a dense net of three hidden layers reach 96 % on KMNIST's test set, and what does it take?

Its source claims "consistently above 96 %" and gives neither widths, rates nor epochs.
Run: python -m harness.run --ablation=kmnist_mlp      Cost: 30 runs of 11 to 116 s, AMD EPYC, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig

ABLATION = Ablation(
    question="Does a dense net of three hidden layers reach 96 % on KMNIST's test set, and what does it take?",
    base=RunConfig(dataset="kmnist", model=MLPConfig(hidden=(128,), repeat=3), batch_size=128, epochs=20),
    factors={
        "units": Factor("model.hidden", {"128": (128,), "256": (256,), "512": (512,)}),
        "dropout": Factor("model.dropout", {"0": 0.0, "0.3": 0.3}),
    },
    seeds=(0, 1, 2, 3, 4),
    claims=sources.KMNIST_MLP,
)
