"""The dashboard over the indexed metadata files, and the command that imports it."""
