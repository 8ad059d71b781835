//! What every adapter of a port has to do, run on each of them.
