"""CSV files in, Parquet in an object store out: the third of the five systems."""
