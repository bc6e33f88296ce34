"""Training: what it takes, put together by whoever trains."""
