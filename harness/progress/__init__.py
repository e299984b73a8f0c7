"""Who hears of a sweep while it trains: the terminal, files, TensorBoard."""
