//! oversize
