"""Messages of kusciajob.v1 from values of the model, and back."""
