"""Random changes to training images, inside the compiled step; what is drawn for an image follows from its place.

`harness.training.train` calls `augment` on a batch's images, and `mixing` for what mixes whole examples.
"""

from harness.training.augmentation.augment import augment, strengths
from harness.training.augmentation.mixing import Mixing, mixing

__all__ = ["Mixing", "augment", "mixing", "strengths"]
