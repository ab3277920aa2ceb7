"""A sentence that asks for leads, read without a language model."""
