"""What is in an image, who made it and from what, and whether it may be used: told beside the image, as its referrers."""
