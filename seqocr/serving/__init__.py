"""Reading as a service: a queue that is read in batches, an interface over HTTP, a page where heads race."""
