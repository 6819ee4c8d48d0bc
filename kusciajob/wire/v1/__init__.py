"""The messages of kusciajob.v1, from and to the values of the model."""
