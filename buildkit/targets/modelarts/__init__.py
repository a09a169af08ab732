"""Huawei ModelArts, also the Open Telekom Cloud's: a model imported from an image, real-time or batch."""
