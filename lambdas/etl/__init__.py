"""What runs in Lambda for the ETL pipeline: one folder, one zip, two functions."""
