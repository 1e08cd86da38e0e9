//! The tidy test: what ARCHITECTURE.md promises about the shape of the code and of its documents, enforced.

mod dependencies;
mod documents;
mod licences;
mod links;
mod sources;
mod tree;
