"""Training rows: the problem, the sources, the ETL and its dataset."""
