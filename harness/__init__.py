"""Trains ablations and reports them: `harness.run`, `harness.report`."""
