"""Number wheels of odometers and meters."""
