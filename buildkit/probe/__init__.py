"""Runs an image as its platform runs it, asks it what the platform asks, and says what came back.

``containers`` is what an engine must do, ``command_line`` does it with podman and docker. ``server``, ``model_folder``,
``fetched`` and ``job`` are the four things that a platform can do with an image; ``buildkit.targets.running`` says with
frozen data which platform does which.
"""
