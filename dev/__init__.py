"""What developers run, and no user: benchmarks, and the pictures of the documentation."""
