"""What a workflow may ask of the world, as Temporal activities."""
