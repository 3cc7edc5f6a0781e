"""What is asked, frozen, and what comes out: no torch in here."""
