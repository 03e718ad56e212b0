"""Result values to terminal and machine-readable formats, one renderer a module."""
