"""Model repositories as Triton reads them: their layout, their configurations, and what is wrong with either."""
