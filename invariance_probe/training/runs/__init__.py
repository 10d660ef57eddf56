"""Training runs on disk, and what their networks err."""
