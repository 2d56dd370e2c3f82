"""Images of any size: which tiles go through the network, and one result out of theirs."""
