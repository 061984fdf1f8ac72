"""The sample upstream: takes batches, writes Parquet, acknowledges after the rename."""
