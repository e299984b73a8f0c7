"""Which regularizer helps a dense net and a small CNN on scikit-learn's 8 x 8 digits? The first ablation to run.

Run: python -m harness.run --ablation=quickstart      Cost: 24 small runs, no download
"""

from ablations.spec import Ablation, Factor, RunConfig
from models import CNNConfig, MLPConfig

ABLATION = Ablation(
    question="Which regularizer helps a dense net and a small CNN on 1,238 tiny digits?",
    base=RunConfig(dataset="digits", model=MLPConfig(), batch_size=32, epochs=20, validation_size=200),
    factors={
        "network": Factor("model", {
            "mlp": MLPConfig(hidden=(128, 64)),
            "cnn": CNNConfig(filters=(32, 64), padding="same"),
        }),
        "regularizer": Factor(("model.batch_norm", "model.dropout", "model.l2_kernel"), {
            "none": (False, 0.0, 0.0),
            "batch_norm": (True, 0.0, 0.0),
            "dropout": (False, 0.2, 0.0),
            "l2": (False, 0.0, 0.001),
        }),
    },
    within=("network",),
    seeds=(0, 1, 2),
)
