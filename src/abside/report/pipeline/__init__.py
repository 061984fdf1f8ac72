"""Outcomes of a pipeline that was there before us: its Parquet, read as rows of our store."""
