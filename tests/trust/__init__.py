"""What is told beside an image."""
