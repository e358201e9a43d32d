//! TODO-compile
