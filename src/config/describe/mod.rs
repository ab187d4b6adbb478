//! What is made from the key table: the default file, the JSON Schema, the reference page.

#[cfg(test)]
mod file;
mod page;
mod schema;

#[cfg(test)]
pub(crate) use file::default_file;
pub use {page::reference, schema::schema};
