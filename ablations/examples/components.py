"""What is each component of a small CNN worth on small handwritten digits, and how many seeds does it take to tell?

Run, in its folder: python -m harness.run --ablation=components.py --until_decided=0.5 --max_seeds=30
Cost: 12 runs at least, 120 at most, of seconds each on two cores
"""

from ablations.spec import Ablation, Factor, RunConfig
from models import CNNConfig

FULL = CNNConfig(filters=(16, 32), padding="same", batch_norm=True, dropout=0.2, l2_kernel=0.001)
ABLATION = Ablation(
    question="What are batch norm, dropout and L2 each worth in a small CNN on 1,238 tiny digits?",
    base=RunConfig(dataset="digits", model=FULL, batch_size=32, epochs=20, validation_size=200),
    factors={
        "batch_norm": Factor("model.batch_norm", {"with": True, "without": False}),
        "dropout": Factor("model.dropout", {"with": 0.2, "without": 0.0}),
        "l2": Factor("model.l2_kernel", {"with": 0.001, "without": 0.0}),
    },
    design="leave_one_out",
    seeds=(0, 1, 2),
)
