"""The ladder: sums of every layer, and the tables that follow from them."""
