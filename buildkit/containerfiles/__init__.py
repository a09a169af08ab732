"""Containerfiles: written from templates, and read where a person wrote one."""
