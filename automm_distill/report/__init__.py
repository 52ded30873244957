"""Tables and plots of many runs.

results files -> runs (grouped by configuration) -> summary (numbers) -> tables and plots -> markdown (the report)
"""
