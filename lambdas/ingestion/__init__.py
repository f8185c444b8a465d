"""The regional ingestion's functions: the same three in each region."""
