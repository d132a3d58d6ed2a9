"""From raw tables to checked rows in Parquet files: query, check, write."""
