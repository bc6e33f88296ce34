"""Print, and pictures of nothing."""
