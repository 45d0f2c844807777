"""Sparse attention and the transformer block, plain modules; `graphgym.py` registers them."""
