"""The API that clients call, over gRPC and HTTP: decode, call the use case, encode."""
