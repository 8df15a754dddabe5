"""Looking inside the gradients: what each method predicts for changes of the weights, and what the loss then does."""
