"""How runs train: cohorts of them as compiled programs, laid out over the devices, recorded as they end."""
