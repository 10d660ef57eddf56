"""Weights: read from files of every kind without running code, matched with a network, loaded."""
