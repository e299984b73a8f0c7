"""How far does a CNN get on CIFAR-10 from scratch in twelve epochs, and does cutout help it?

Each run is tested twice, plainly and on shifted and mirrored views: two scores, of which neither selects anything.
A first convolution of 64 filters is pooled before the wide ones: 134 million multiplications an image.

Run: python -m harness.run --ablation=cifar10_cnn_best      Cost: 6 runs, not trained yet
"""

from ablations.spec import Ablation, AugmentConfig, Factor, OptimizerConfig, RunConfig, ScheduleConfig
from models import CNNConfig

ABLATION = Ablation(
    question="How far does a CNN get on CIFAR-10 from scratch in twelve epochs, and does cutout help it?",
    base=RunConfig(
        dataset="cifar10", batch_size=512, epochs=12, label_smoothing=0.1, ema_decay=0.99, tta="flip_shift",
        model=CNNConfig(filters=(64, (64, 256), (256, 256), 256), padding="same", pool=(2, 2, 2, 1), batch_norm=True,
                        norm_before_activation=True, global_average=True),
        optimizer=OptimizerConfig("sgd", learning_rate=0.4, momentum=0.9, nesterov=True, weight_decay=5e-4),
        schedule=ScheduleConfig("linear", warmup_epochs=2.4),
        augment=AugmentConfig(shift_px=4, flip=True, cutout_px=8)),
    factors={"cutout": Factor("augment.cutout_px", {"8 px": 8, "none": 0})},
    seeds=(0, 1, 2),
)
