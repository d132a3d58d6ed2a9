"""What the service costs, beside the ways it is usually done: ``python -m benchmarks``."""
