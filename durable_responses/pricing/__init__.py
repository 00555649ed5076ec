"""What responses cost: the rates of models, and what follows from them for a response."""
