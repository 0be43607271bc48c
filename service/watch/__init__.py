"""`edgecls watch`: a subscriber like any other, that shows people what the lines say. It never publishes."""
