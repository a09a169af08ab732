"""The command line: the only place that prints, colours, catches and exits."""
