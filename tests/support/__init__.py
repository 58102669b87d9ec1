"""What the tests of several folders use: programs under test, sessions, normal forms."""
