"""Core -> marts: what people read. A mart is made from core tables and settings, never from landed files."""
