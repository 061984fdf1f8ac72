"""The report: Parquet → what the analyst reads. Figures, and no verdict."""
