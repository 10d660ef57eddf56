"""Image sets to measure on, from whatever holds images."""
