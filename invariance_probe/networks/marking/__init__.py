"""Which cells see a pixel: networks run on marks that spread as receptive fields do."""
