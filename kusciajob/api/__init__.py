"""The API, for clients and for the server.

For clients: `kusciajob.api.kuscia` has the messages and stubs of Kuscia's services, `kusciajob.api.v1` those of
kusciajob.v1. For the server: `calls`, `grpc` and `http` decode, call the use case and encode.
"""
