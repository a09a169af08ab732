"""The recipe kinds that come with modelpack, one folder each. The machinery finds them as it finds anybody else's."""
