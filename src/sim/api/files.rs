//! `/v1/files`: kept in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::Call;
use crate::sim::{error::ApiError, wire::Reply};

/// Files kept before the oldest make room.
const MAX_FILES: usize = 10_000;

/// The files, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Files(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    next: u64,
    files: BTreeMap<u64, File>,
}

#[derive(Clone, Debug)]
struct File {
    id: String,
    object: Value,
    content: Bytes,
}

pub(crate) fn create(call: &Call<'_>) -> Result<Reply, ApiError> {
    let form = call.form()?;
    let purpose = form
        .text("purpose")
        .ok_or_else(|| ApiError::missing("purpose"))?
        .to_owned();
    let part = form
        .part("file")
        .ok_or_else(|| ApiError::missing("file"))?
        .clone();
    let id = call.dice(1).id("file-", 22);
    let object = call.world.stores.files.put(
        call,
        &id,
        part.filename.as_deref().unwrap_or("file"),
        &purpose,
        part.content,
    );
    Ok(Reply::json(format!("{object:#}\n")))
}

pub(crate) fn list(call: &Call<'_>) -> Result<Reply, ApiError> {
    let purpose = call
        .query
        .split('&')
        .find_map(|pair| pair.strip_prefix("purpose="));
    let shelf = call.world.stores.files.lock();
    let all = shelf.files.values().rev().map(|file| &file.object);
    let data: Vec<&Value> = all
        .filter(|object| purpose.is_none_or(|purpose| object["purpose"] == purpose))
        .collect();
    let id = |object: Option<&&Value>| object.map_or(Value::Null, |object| object["id"].clone());
    let page = json!({
        "object": "list", "data": data, "has_more": false, "first_id": id(data.first()), "last_id": id(data.last()),
    });
    Ok(Reply::json(format!("{page:#}\n")))
}

pub(crate) fn get(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let file = call.world.stores.files.find(id)?;
    Ok(Reply::json(format!("{:#}\n", file.object)))
}

pub(crate) fn content(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::whole(
        "application/octet-stream",
        call.world.stores.files.find(id)?.content,
    ))
}

pub(crate) fn delete(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    call.world.stores.files.find(id)?;
    call.world
        .stores
        .files
        .lock()
        .files
        .retain(|_, file| file.id != id);
    Ok(Reply::json(format!(
        "{:#}\n",
        json!({"object": "file", "deleted": true, "id": id})
    )))
}

// === impl Files ===

impl Files {
    /// Stores a file; the same upload again takes the place of the first one, since its id is the same.
    pub(crate) fn put(
        &self,
        call: &Call<'_>,
        id: &str,
        name: &str,
        purpose: &str,
        content: Bytes,
    ) -> Value {
        let object = json!({
            "object": "file", "id": id, "purpose": purpose, "filename": name, "bytes": content.len(),
            "created_at": call.created(), "expires_at": null, "status": "processed", "status_details": null,
        });
        let mut shelf = self.lock();
        shelf.files.retain(|_, file| file.id != id);
        if shelf.files.len() == MAX_FILES {
            shelf.files.pop_first();
        }
        shelf.next += 1;
        let place = shelf.next;
        shelf.files.insert(
            place,
            File {
                id: id.to_owned(),
                object: object.clone(),
                content,
            },
        );
        object
    }

    /// The content of a file.
    pub(crate) fn read(&self, id: &str) -> Option<Bytes> {
        self.find(id).ok().map(|file| file.content)
    }

    pub(crate) fn clear(&self) {
        self.lock().files.clear();
    }

    fn find(&self, id: &str) -> Result<File, ApiError> {
        let found = self
            .lock()
            .files
            .values()
            .find(|file| file.id == id)
            .cloned();
        found.ok_or_else(|| {
            ApiError::invalid(format!("No such File object: {id}"))
                .status(http::StatusCode::NOT_FOUND)
                .param("id")
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
