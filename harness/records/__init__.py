"""What runs leave behind: its form, its place on disk, and what of it may share a table. Imports no other room."""

from harness.records.curves import CURVE_COLUMNS
from harness.records.fields import columns
from harness.records.files import RecordError, write_atomic
from harness.records.folder import (
    OWN_RESULTS,
    SHIPPED_RESULTS,
    Folder,
    ablations_in,
    find,
    shipped_runs,
)
from harness.records.plan import Fixed, Plan, PlannedClaim, PlannedRun, Stopping, fixed
from harness.records.progress import Progress, RunProgress
from harness.records.record import (
    STATUSES,
    BackboneFacts,
    Cost,
    DatasetFacts,
    Environment,
    Layer,
    Placement,
    Provenance,
    RunRecord,
    Scores,
    Status,
    Timing,
)
from harness.records.table import read_all

__all__ = [
    "CURVE_COLUMNS",
    "OWN_RESULTS",
    "SHIPPED_RESULTS",
    "STATUSES",
    "BackboneFacts",
    "Cost",
    "DatasetFacts",
    "Environment",
    "Fixed",
    "Folder",
    "Layer",
    "Placement",
    "Plan",
    "PlannedClaim",
    "PlannedRun",
    "Progress",
    "Provenance",
    "RecordError",
    "RunProgress",
    "RunRecord",
    "Scores",
    "Status",
    "Stopping",
    "Timing",
    "ablations_in",
    "columns",
    "find",
    "fixed",
    "read_all",
    "shipped_runs",
    "write_atomic",
]
