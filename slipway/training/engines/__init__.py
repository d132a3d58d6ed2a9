"""The engines that fit a pipeline: in memory, in chunks, on Spark."""
