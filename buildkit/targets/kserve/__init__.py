"""KServe and Open Data Hub: a model as an image, in three modes (modelcar, native, fetch)."""
