//! Every kernel, by shader family.
