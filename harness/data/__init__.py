"""What runs read: data sets by name, weights, and the features that stand in images' place. Imports `records` alone."""

from harness.data.datasets import NAMES, DataError, Dataset, Split, load

__all__ = ["NAMES", "DataError", "Dataset", "Split", "load"]
