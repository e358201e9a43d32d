//! Where specs come from: git repositories and working trees.
