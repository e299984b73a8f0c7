"""The pages of a report: one file each, that opens from disk."""
