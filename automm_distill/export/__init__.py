"""A fitted model as files that run without AutoGluon: written, checked on every test row, timed, and described."""
