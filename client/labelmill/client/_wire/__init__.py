"""What both clients share: requests, parsed answers, errors and retry decisions. No I/O."""
