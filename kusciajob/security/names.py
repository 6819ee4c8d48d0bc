"""How the files of certificates are called, for the server that makes them and for clients that read them."""

CA_CERTIFICATE, CA_KEY = "ca.crt", "ca.key"
SERVER_CERTIFICATE, SERVER_KEY = "server.crt", "server.key"
CLIENT_CERTIFICATE, CLIENT_KEY = "client.crt", "client.key"
