"""Does a dense net on Fashion-MNIST gain more from hidden layers or from units per layer?

Run: python -m harness.run --ablation=fashion_depth_width      Cost: 27 runs of 6 to 77 s, AMD EPYC, 2 cores
"""

from ablations import sources
from ablations.spec import Ablation, Factor, RunConfig
from models import MLPConfig

ABLATION = Ablation(
    question="Does a dense net on Fashion-MNIST gain more from hidden layers or from units per layer?",
    base=RunConfig(dataset="fashion_mnist", model=MLPConfig(hidden=(100,)), batch_size=128, epochs=20),
    factors={
        "layers": Factor("model.repeat", {"1": 1, "2": 2, "3": 3}),
        "units": Factor("model.hidden", {"100": (100,), "200": (200,), "400": (400,)}),
    },
    seeds=(0, 1, 2),
    claims=(sources.lowest_test_error("hidden layers and units per layer"), sources.DEPTH),
)
