"""Records handed to other trackers."""
