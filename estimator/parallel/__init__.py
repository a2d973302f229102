"""Several devices: what each holds, adds, sends and saves."""
