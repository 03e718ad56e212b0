"""Below the deployed form: linear maps moved to where they cost least.

``steps`` reads spatial operators off nodes, ``sight`` knows sizes and costs, and ``ways`` finds the cheapest way to
compute a map of a tensor from earlier ones, a tree of ``terms``. ``through`` and ``pools`` are the laws: each finds a
``rewrite``. ``search`` chooses among those by cost, and ``write`` edits the graph.
"""
