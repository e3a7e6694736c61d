"""The tables of Wang et al., "Transferring GANs" (ECCV 2018, arXiv 1805.01677), and our statistics of them.

``python -m analysis.published`` applies the report's functions to the paper's numbers: it shows the report's statistics on a
known result and checks them. FIDs of different tables have different origins; they are never compared with each other or with
those of a store.
"""
