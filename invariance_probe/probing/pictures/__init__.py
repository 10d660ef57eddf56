"""Pictures of maps: transformed, moved back, beside the original."""
