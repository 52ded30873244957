"""What a fitted student becomes outside of AutoGluon."""
