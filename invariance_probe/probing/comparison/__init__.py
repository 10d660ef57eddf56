"""Several networks on one plan: paired differences with intervals."""
