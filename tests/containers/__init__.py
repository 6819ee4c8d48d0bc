"""Tests on a real container engine: `make test-containers` runs them, `make test` leaves them out."""
