"""Benchmarks: what is measured, what it is measured against, and how it is told."""
