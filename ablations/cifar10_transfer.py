"""What do frozen ImageNet features of MobileNetV2 give on CIFAR-10, at which resolution, and how much of a head?

The source upsizes the images and trains batch norm, three dense layers and a dropout on the pooled features; it stops
early, after 16 of 30 epochs, and claims about 87 %. Units, dropout rate and learning rate are chosen here, and at every
resolution the weights are those trained at 224 pixels, where Keras would take others for 96 and 160. Run:
python -m harness.run --ablation=cifar10_transfer --weights_dir=DIR Cost: 30 runs of 2 to 62 s, two at a time; before
them features: 2, 4 and 8 min by resolution (AMD EPYC, 2 cores)
"""

from ablations import sources
from ablations.spec import Ablation, EarlyStopping, Factor, RunConfig
from models import TransferConfig

ABLATION = Ablation(
    question="What do frozen MobileNetV2 features give on CIFAR-10, by resolution and head?",
    base=RunConfig(dataset="cifar10", model=TransferConfig(), batch_size=32, epochs=30,
                   early_stopping=EarlyStopping(min_delta=1e-4, patience=5)),
    factors={
        "resolution": Factor("model.resolution", {"96": 96, "160": 160, "224": 224}),
        "head": Factor(("model.batch_norm", "model.hidden", "model.dropout"), {
            "linear": (False, (), 0.0),
            "three dense": (True, (256, 128), 0.3),
        }),
    },
    seeds=(0, 1, 2, 3, 4),
    claims=sources.CIFAR10_TRANSFER,
)
