"""What runs read: data sets by name, weights, and the features that stand in images' place. Imports `records` alone."""

from harness.data.datasets import NAMES, DataError, Dataset, Split, load
from harness.data.splits import Splits

__all__ = ["NAMES", "DataError", "Dataset", "Split", "Splits", "load"]
