"""What runs in Lambda for the ETL pipeline: one zip, three functions."""
