"""Asks the rules of targets: of a recipe before it is built, of an image as it was pushed, of what deploys it."""
