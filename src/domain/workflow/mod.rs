//! TODO-workflow
