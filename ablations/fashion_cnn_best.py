"""How far does a CNN of under 150,000 parameters get on Fashion-MNIST, and which filters does it take?

The recipe was found by a search that read the validation set alone.
Run: python -m harness.run --ablation=fashion_cnn_best      Cost: 9 runs, not trained yet
"""

from ablations.spec import Ablation, AugmentConfig, Factor, OptimizerConfig, RunConfig, ScheduleConfig
from models import CNNConfig

ABLATION = Ablation(
    question="How far does a CNN of under 150,000 parameters get on Fashion-MNIST, and which filters does it take?",
    base=RunConfig(
        dataset="fashion_mnist", batch_size=256, epochs=60, label_smoothing=0.05,
        model=CNNConfig(filters=((32, 48), (64, 64), (64, 48)), padding="same", pool=(2, 2, 1), batch_norm=True,
                        norm_before_activation=True, dropout=(0.1, 0.1, 0.0), global_average=True),
        optimizer=OptimizerConfig("adamw", learning_rate=0.006, weight_decay=0.05, b2=0.99),
        schedule=ScheduleConfig("cosine", warmup_epochs=6.0),
        augment=AugmentConfig(flip=True, scale=0.05, translate_px=2.0, cutout_px=8)),
    factors={"filters": Factor("model.filters", {
        "32 48 - 64 64 - 64 48": ((32, 48), (64, 64), (64, 48)),
        "24 32 - 48 64 - 64 64": ((24, 32), (48, 64), (64, 64)),
        "32 32 - 64 64 - 96": ((32, 32), (64, 64), 96)})},
    seeds=(0, 1, 2),
)
