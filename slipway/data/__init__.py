"""Problems, sources of raw tables, the ETL and its datasets."""
