"""Teachers that are finished when a run begins: known by a file of predictions, or a model that is used as it is."""
