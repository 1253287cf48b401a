//! The `import` command.
