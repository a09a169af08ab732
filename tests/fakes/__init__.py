"""Loopback servers that obey the real protocols, with faults that can be switched on at a chosen byte.

`hub` is a model hub, `registry` an image registry, `proxy` a TCP proxy to put before a real server, and
`faults` what each of them can be told to do wrong. Standard library only.
"""
