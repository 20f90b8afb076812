//! What a host and a script see of picloud, tested from outside. Everything is in `tests/`.
