"""What programs and tests of others have shown to be wrong, each kind with a test of its own."""
