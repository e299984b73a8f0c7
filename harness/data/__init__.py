"""What runs read: data sets by name or one's own, weights, features in images' place. Imports `records` alone."""

from harness.data.datasets import NAMES, DataError, Dataset, Split, load
from harness.data.splits import Splits

__all__ = ["NAMES", "DataError", "Dataset", "Split", "Splits", "load"]
