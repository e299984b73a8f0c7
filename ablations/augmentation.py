"""Which random changes are made to training images, as data."""

import dataclasses

from models.options import flag, not_negative, positive, traced

# What a test image is shown as besides itself: mirrored left to right, moved by a pixel each way, or each of both.
TTA = ("none", "flip", "shift", "flip_shift")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Describes the random changes made to each training image, in the order in which they are made.

    Images are in [0, 1] before and after. At zero a change is left out, and values above zero share a compiled program.
    "Uniform within a value" is between minus and plus the value; what moves in from outside is 0.

    Attributes:
      shift_px: largest shift in whole pixels along each axis, filling with zeros: torchvision's
        RandomCrop(size, padding=shift_px).
      flip: whether an image is mirrored left to right with probability 1/2.
      vflip: whether an image is mirrored top to bottom with probability 1/2.
      rotation: degrees, uniform within it, about the middle.
      shear: how far a row moves sideways for each row further down, uniform within it.
      scale: the logarithm of the factor by which each axis is stretched, uniform within it and drawn for each axis.
      translate_px: shift in pixels and fractions of them along each axis, uniform within it.
      elastic_px: standard deviation, in pixels, of the displacement at each of 5 x 5 points spread over the image,
        linear between them. It is added to the four changes above, and all five together interpolate once.
      trivialaugment: one change per image out of thirteen, at a random strength; see
        `harness.training.augmentation.trivial`.
      brightness, contrast, saturation: how far the factor of torchvision's ColorJitter is from 1, uniform within it.
      erase_prob: probability that a rectangle is set to 0, as in torchvision's RandomErasing.
      erase_area: smallest and largest share of the image that the rectangle takes up.
      cutout_px: side in whole pixels of a square set to the mean of its image; it may stick out of the image.
      mixup: a of the Beta(a, a) distribution by which two examples and their targets are mixed.
      cutmix: a of the Beta(a, a) distribution of the share of an image that stays where a box of another image replaces
        the rest; targets are mixed by the part of the box that is inside the image. Where mixup is set too, each batch
        has either, with equal probability.
    """

    shift_px: int = 0
    flip: bool = False
    mixup: float = traced(0.0)
    vflip: bool = False
    rotation: float = traced(0.0)
    shear: float = traced(0.0)
    scale: float = traced(0.0)
    translate_px: float = traced(0.0)
    elastic_px: float = traced(0.0)
    trivialaugment: bool = False
    brightness: float = traced(0.0)
    contrast: float = traced(0.0)
    saturation: float = traced(0.0)
    erase_prob: float = traced(0.0)
    erase_area: tuple[float, float] = (0.02, 0.33)
    cutout_px: float = traced(0.0)
    cutmix: float = traced(0.0)

    def __post_init__(self) -> None:
        if self.shift_px != 0:
            positive("shift_px", self.shift_px)
        for field in ("flip", "vflip", "trivialaugment"):
            flag(field, getattr(self, field))
        for one in dataclasses.fields(self):
            if one.metadata.get("traced"):
                not_negative(one.name, getattr(self, one.name))
        for name, most in (("rotation", 180), ("erase_prob", 1)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, not {getattr(self, name)!r}")
        if self.cutout_px != int(self.cutout_px):
            raise ValueError(f"cutout_px must be a whole number of pixels, not {self.cutout_px!r}")
        area = self.erase_area
        if not (isinstance(area, tuple) and len(area) == 2 and all(isinstance(share, int | float) for share in area)
                and 0 < area[0] <= area[1] <= 1):
            raise ValueError(f"erase_area must be two shares of the image such as (0.02, 0.33), not {area!r}")

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.changes_images or self.mixup or self.cutmix)

    @property
    def changes_images(self) -> bool:
        """Whether images are changed by themselves, and not mixed alone."""
        return any(getattr(self, one.name) for one in dataclasses.fields(self)
                   if one.name not in ("erase_area", "mixup", "cutmix"))

    def check_images(self, height: int, width: int, channels: int) -> None:
        """Checks that images of this shape can be changed so.

        Raises:
          ValueError: if not.
        """
        for name in ("shift_px", "translate_px", "cutout_px"):
            if (value := getattr(self, name)) and value >= min(height, width):
                raise ValueError(f"{name} must be below {min(height, width)}, not {value}")
        if self.saturation and channels != 3:
            raise ValueError(f"saturation needs images in colour, of three channels, not of {channels}")
