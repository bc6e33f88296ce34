"""Reading more lines than one process would: a source in shards, each read by itself into one Parquet file."""
