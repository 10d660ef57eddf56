"""Where the cells of maps sit in the image, measured on the network itself."""
