"""The rules that hold wherever an image goes."""
