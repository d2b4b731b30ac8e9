"""The server of a page to find moments in."""
