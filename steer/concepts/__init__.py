"""From a word to an edit that can be seen: `steer.concept`."""
