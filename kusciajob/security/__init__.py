"""Who may connect, and who calls: certificates and tokens."""
