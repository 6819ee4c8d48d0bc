"""Between protobuf and the model."""
