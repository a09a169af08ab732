"""The machinery of modelpack: a recipe is pinned, planned, built, pushed, and what happened is locked.

Read :mod:`buildkit.flow` first: it holds the stages in their order.
"""

__version__ = "0.1.0"
