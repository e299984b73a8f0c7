"""Which way of making pictures square suits a folder of one's own, and does dropout help?

Beside this file: pictures/CLASS/*.jpg (or .png, .webp ...), of any size.
Run, in that folder: python -m harness.run --ablation=own_pictures.py
"""

from ablations.own_data import ImageFolder
from ablations.spec import Ablation, AugmentConfig, Factor, RunConfig
from models import CNNConfig

ABLATION = Ablation(
    question="Should my pictures be cropped or padded to squares, and does dropout help?",
    base=RunConfig(dataset=ImageFolder("pictures", size=(32, 32)), model=CNNConfig(filters=(16, 32), padding="same"),
                   augment=AugmentConfig(flip=True), batch_size=16, epochs=10, validation_size=20),
    factors={
        "fit": Factor("dataset.fit", {"crop": "crop", "pad": "pad"}),
        "dropout": Factor("model.dropout", {"0": 0.0, "0.3": 0.3}),
    },
    seeds=(0, 1, 2),
)
