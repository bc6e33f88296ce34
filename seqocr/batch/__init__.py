"""Batch inference: a source in shards, each read by itself into one Parquet file, by many processes."""
