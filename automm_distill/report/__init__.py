"""What people read: one run on screen (``run``), and tables and plots of many runs.

results files -> collection (settings, each with its runs) -> summary (numbers) -> tables, plots -> document
"""
