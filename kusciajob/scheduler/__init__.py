"""The watcher that plans and acts."""
