"""Generated street numbers, in place of SVHN where that cannot be had."""
