"""The ETL: run the query on the raw tables, validate the rows, write Parquet files."""
