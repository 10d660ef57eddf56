"""The oracle spatial transformer: what perfect alignment at one layer is worth."""
