"""What tests of and against Coterie use: the simulator and its fakes."""
