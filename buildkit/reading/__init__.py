"""Files that people and machines wrote, read: plain values with their places, and every problem in them."""
