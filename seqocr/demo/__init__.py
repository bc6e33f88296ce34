"""The demo page: draw a number, watch heads race, review many lines."""
