"""What long work needs, whatever it computes: processes, devices, files, resuming."""
