"""How far does a head on frozen MobileNetV2 features get on CIFAR-10, and do dropout and label smoothing help it?

One wide hidden layer, decoupled weight decay and a learning rate that ends at 0. Width and rates were found by a search
that read the validation set alone; its records are not kept, and what it compared at this width is trained here anew.
Run: python -m harness.run --ablation=cifar10_transfer_best --weights_dir=DIR
Cost: 20 runs of 75 to 84 s, two at a time; before them features, 4 min (AMD EPYC, 2 cores)
"""

from ablations.spec import Ablation, Factor, OptimizerConfig, RunConfig, ScheduleConfig
from models import TransferConfig

ABLATION = Ablation(
    question="How far does a head on frozen MobileNetV2 features get on CIFAR-10, and what does regularizing it do?",
    base=RunConfig(
        dataset="cifar10", batch_size=128, epochs=20,
        model=TransferConfig(resolution=160, hidden=(512,), batch_norm=True, dropout=0.6),
        optimizer=OptimizerConfig("adamw", learning_rate=0.001, weight_decay=0.1),
        schedule=ScheduleConfig("cosine", warmup_epochs=1.0)),
    factors={
        "dropout": Factor("model.dropout", {"0.6": 0.6, "0.3": 0.3}),
        "label smoothing": Factor("label_smoothing", {"0": 0.0, "0.1": 0.1}),
    },
    seeds=(0, 1, 2, 3, 4),
)
