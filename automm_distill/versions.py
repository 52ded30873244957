"""What, besides settings and data, a fitted model depends on: versions of libraries, and of our own training."""

from importlib.metadata import version

# Raise it with every change of what a fit computes from the same settings and rows: sampler, losses, schedule,
# optimizer, tokenisation, random numbers. Older cache entries are then no longer found, and a sweep runs its trials
# anew.
# tests/test_training_format.py fails when one of them changes and this number does not.
TRAINING_FORMAT = 3

LIBRARIES = ("autogluon.multimodal", "torch", "transformers", "lightning", "tokenizers")


def library_versions() -> dict[str, str]:
    """The installed versions of the libraries that train."""
    return {name: version(name) for name in LIBRARIES}
