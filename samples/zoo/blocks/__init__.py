"""Linear blocks from the literature, each in a small training-time network.

A module is a family; each of its public functions that take no argument returns a network. Widths and sizes are small
and no two axes are equal, so that a mix-up shows. Parameters that start at zero or one in training are drawn at random,
as if trained. Parts that are one layer at inference are ``Foldable``, so the deployed form follows from the
training-time form.
"""
