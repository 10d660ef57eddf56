"""What measuring shares: images shown to a network, checks before a run, memory, passes."""
