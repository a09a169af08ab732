"""batch: an image for a batch service of Huawei ModelArts, which runs ``/home/run.sh`` and ends."""
