"""The referee: are the outputs the same, is it faster, what does it cost. Knows nothing of the compiler."""
