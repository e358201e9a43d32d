//! Operations as processes of this machine.
