"""The HTTP interface: a queue that is read in batches, and the routes above it."""
