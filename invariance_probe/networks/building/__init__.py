"""Networks by name: the package's own, torchvision's, timm's, and those of a user's factory."""
