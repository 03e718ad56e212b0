"""The compiler: finds affine regions, folds each into one kernel and emits it as one node."""
