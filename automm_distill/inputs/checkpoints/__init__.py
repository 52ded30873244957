"""Pretrained checkpoints: found, and opened as AutoGluon will open them."""
