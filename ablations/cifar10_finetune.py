"""What does training the backbone as well add on CIFAR-10: the last stages of MobileNetV2, or all of it?

Meant for an accelerator; it runs anywhere. The fine-tuned part moves at a tenth of the learning rate, and batch norm
keeps ImageNet's statistics.
Run: python -m harness.run --ablation=cifar10_finetune --weights_dir=DIR
Cost: 9 runs; frozen seconds, from block 13 11 to 20 min (Intel Xeon, 2 cores), all not measured yet
"""

from ablations.spec import Ablation, Factor, RunConfig
from models import TransferConfig

ABLATION = Ablation(
    question="What does fine-tuning MobileNetV2 add on CIFAR-10 over frozen features?",
    base=RunConfig(dataset="cifar10", model=TransferConfig(), batch_size=128, epochs=10),
    factors={"fine-tuned": Factor("model.fine_tune", {"none": "none", "from block 13": "block_13", "all": "all"})},
    seeds=(0, 1, 2),
)
