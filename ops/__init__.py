"""Commands for those who operate the pipelines: ``python -m ops COMMAND``."""
