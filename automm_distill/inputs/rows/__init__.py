"""Rows: where they lie, what is in a file of them, and what models get of them."""
