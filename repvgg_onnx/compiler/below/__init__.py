"""Below the deployed form: linear maps moved to where they cost least.

``steps`` reads spatial operators off nodes, ``terms`` writes a map of a tensor as a sum over earlier tensors, and
``through`` and ``pools`` are the laws: each looks for nodes to rewrite. ``search`` chooses by cost, ``write`` edits.
"""
