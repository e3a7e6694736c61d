"""The tables of Wang et al., "Transferring GANs" (ECCV 2018, arXiv 1805.01677), and what our statistics make of them.

``python -m analysis.published`` computes from the paper's numbers what the report computes from a store's, by the same
functions. So it shows what the report's statistics say of a known result, and checks them. FIDs of different tables were
taken in different places and are never compared with each other, let alone with those of a store.
"""
