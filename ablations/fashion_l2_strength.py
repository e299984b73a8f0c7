"""How strong should L2 on kernels and biases be for a dense net on Fashion-MNIST?

Run: python -m harness.run --ablation=fashion_l2_strength      Cost: 15 runs of 19 to 33 s, AMD EPYC, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig

ABLATION = Ablation(
    question="How strong should L2 on kernels and biases be for a dense net on Fashion-MNIST?",
    base=RunConfig(dataset="fashion_mnist", model=MLPConfig(), batch_size=128, epochs=20),
    factors={"l2": Factor(("model.l2_kernel", "model.l2_bias"), {
        "0": (0.0, 0.0), "1e-5": (1e-5, 1e-5), "1e-4": (1e-4, 1e-4), "1e-3": (1e-3, 1e-3), "1e-2": (1e-2, 1e-2)})},
    seeds=(0, 1, 2),
    claims=(sources.lowest_test_error("strength of regularization"),),
)
