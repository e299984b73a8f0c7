"""Random changes to training images, inside the compiled step; what is drawn for an image follows from its place.

`harness.training.train` calls `augment` on a batch's images, `mixing` for what mixes whole examples, and `views` where
the test set is scored.
"""

from harness.training.augmentation.augment import augment, strengths
from harness.training.augmentation.mixing import Mixing, mixing
from harness.training.augmentation.views import views

__all__ = ["Mixing", "augment", "mixing", "strengths", "views"]
