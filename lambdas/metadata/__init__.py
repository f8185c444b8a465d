"""What runs in Lambda for the metadata pipeline: one zip, one function."""
