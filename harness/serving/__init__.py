"""Trained networks at work: found, loaded with their preprocessing, and applied to pictures."""
