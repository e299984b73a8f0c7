"""How far does a dense net get on KMNIST, and what do augmentation and a longer schedule do for it?

The recipe was found by a search that read the validation set alone. Each run is tested twice, plainly and on shifted
views: two scores, of which neither selects anything.
Run: python -m harness.run --ablation=kmnist_mlp_best      Cost: 15 runs of 1 to 24 min, Intel Xeon, 2 cores
"""

from ablations.spec import Ablation, AugmentConfig, Factor, OptimizerConfig, RunConfig, ScheduleConfig
from models import MLPConfig

AUGMENT = AugmentConfig(rotation=8.6, shear=0.15, scale=0.12, translate_px=2.0, elastic_px=0.6)

ABLATION = Ablation(
    question="How far does a dense net get on KMNIST, and what do augmentation and a longer schedule do for it?",
    base=RunConfig(
        dataset="kmnist", batch_size=256, epochs=20, label_smoothing=0.05, augment=AUGMENT, tta="shift",
        model=MLPConfig(hidden=(1024,), repeat=3, batch_norm=True, norm_before_activation=True, dropout=0.2),
        optimizer=OptimizerConfig("adamw", learning_rate=0.002, weight_decay=0.02, b2=0.99),
        schedule=ScheduleConfig("cosine", warmup_epochs=2.0)),
    factors={
        "augment": Factor("augment", {"affine and elastic": AUGMENT, "none": AugmentConfig()}),
        "epochs": Factor(("epochs", "schedule.warmup_epochs"), {"20": (20, 2.0), "100": (100, 10.0)}),
    },
    design="one_at_a_time",
    seeds=(0, 1, 2, 3, 4),
)
