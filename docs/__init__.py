"""The documentation, and the scripts that write its reference and record its session."""
