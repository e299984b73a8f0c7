"""Speed against peers on the same machine."""
