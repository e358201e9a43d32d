//! Small scenarios, each by its name.
