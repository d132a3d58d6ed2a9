"""Speed and memory of the service compared with other services: ``python -m benchmarks``."""
