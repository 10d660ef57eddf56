"""Figures of networks beside each other."""
