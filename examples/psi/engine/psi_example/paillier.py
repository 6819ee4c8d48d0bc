"""Paillier encryption: whoever holds the public key can add up encrypted numbers without seeing them.

With g = n + 1, Enc(m) = (1 + m·n)·r^n mod n². Enc(a)·Enc(b) holds a + b, and Enc(a)^k holds k·a.
Safe against a party that follows the protocol but looks at everything it gets (honest but curious).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cached_property

from gmpy2 import invert, is_prime, mpz, powmod, powmod_sec

KEY_BITS = 2048


@dataclass(frozen=True)
class PublicKey:
    """Encrypts, adds up, and re-randomises; plain numbers are whole and below n/2 in absolute value."""

    n: int

    @cached_property
    def n_squared(self) -> mpz:
        """The modulus of every encrypted number."""
        return mpz(self.n) ** 2

    def encrypted_sum(self, encrypted: list[int], factors: list[int]) -> int:
        """The encryption of Σ factor·number, made fresh so that it tells nothing about the factors."""
        total = mpz(1)
        for value, factor in zip(encrypted, factors, strict=True):
            total = total * powmod(value, factor, self.n_squared) % self.n_squared
        return int(total * powmod(secrets.randbelow(self.n - 1) + 1, self.n, self.n_squared) % self.n_squared)


@dataclass(frozen=True)
class PrivateKey:
    """The two primes; works modulo p² and q² separately, which is several times faster than modulo n²."""

    p: int
    q: int

    @cached_property
    def public(self) -> PublicKey:
        """The key to hand to the other party."""
        return PublicKey(self.p * self.q)

    def encrypt(self, number: int) -> int:
        """Encrypt a whole number."""
        n, p_squared, q_squared = self.public.n, mpz(self.p) ** 2, mpz(self.q) ** 2
        # The n-th powers modulo p² are exactly the p-th powers, so a uniform h^p equals r^n for a uniform r.
        noise_p = powmod_sec(secrets.randbelow(self.p - 1) + 1, self.p, p_squared)
        noise_q = powmod_sec(secrets.randbelow(self.q - 1) + 1, self.q, q_squared)
        noise = noise_p + p_squared * ((noise_q - noise_p) * invert(p_squared, q_squared) % q_squared)
        return int((1 + number * n) * noise % self.public.n_squared)

    def decrypt(self, encrypted: int) -> int:
        """The number inside; the upper half of the range stands for negative ones."""
        n = self.public.n
        order = (self.p - 1) * (self.q - 1)
        power = powmod_sec(encrypted, order, self.public.n_squared)
        number = int((power - 1) // n * invert(order, n) % n)
        return number if number <= n // 2 else number - n


def generate_key() -> PrivateKey:
    """A new key of KEY_BITS bits from the operating system's randomness."""
    p = _random_prime(KEY_BITS // 2)
    q = _random_prime(KEY_BITS // 2)
    return generate_key() if p == q else PrivateKey(p, q)


def _random_prime(bits: int) -> int:
    # The two highest bits set: the product of two such primes has exactly twice as many bits.
    while True:
        candidate = secrets.randbits(bits) | 0b11 << (bits - 2) | 1
        if is_prime(candidate):
            return candidate
