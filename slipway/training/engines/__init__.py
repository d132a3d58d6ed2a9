"""The engines that fit a pipeline: memory, chunks, Spark."""
