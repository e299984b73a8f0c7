"""How far does a CNN of under 150,000 parameters get on Fashion-MNIST, and what does the recipe do for it?

The recipe was found by a search that read the validation set alone. Each run is tested twice, plainly and on shifted
and mirrored views: two scores, of which neither selects anything.
Run: python -m harness.run --ablation=fashion_cnn_best      Cost: 9 runs, not trained yet
"""

from ablations.spec import Ablation, AugmentConfig, Factor, OptimizerConfig, RunConfig, ScheduleConfig
from models import CNNConfig

AUGMENT = AugmentConfig(flip=True, scale=0.05, translate_px=2.0, cutout_px=8)

ABLATION = Ablation(
    question="How far does a CNN of under 150,000 parameters get on Fashion-MNIST, and what do augmentation and a "
             "longer schedule do for it?",
    base=RunConfig(
        dataset="fashion_mnist", batch_size=256, epochs=15, label_smoothing=0.05, augment=AUGMENT, tta="flip_shift",
        model=CNNConfig(filters=((32, 48), (64, 64), (64, 48)), padding="same", pool=(2, 2, 1), batch_norm=True,
                        norm_before_activation=True, dropout=(0.1, 0.1, 0.0), global_average=True),
        optimizer=OptimizerConfig("adamw", learning_rate=0.006, weight_decay=0.05, b2=0.99),
        schedule=ScheduleConfig("cosine", warmup_epochs=1.5)),
    factors={
        "augment": Factor("augment", {"flip affine cutout": AUGMENT, "none": AugmentConfig()}),
        "epochs": Factor(("epochs", "schedule.warmup_epochs"), {"15": (15, 1.5), "60": (60, 6.0)}),
    },
    design="one_at_a_time",
    seeds=(0, 1, 2),
)
