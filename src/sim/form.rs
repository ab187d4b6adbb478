//! `multipart/form-data`, parsed from a body that is already here.

use bytes::Bytes;
use http::{HeaderMap, header};
use memchr::memmem;

/// The parts of a form, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    pub(crate) parts: Vec<Part>,
}

/// One part.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) filename: Option<String>,
    pub(crate) content: Bytes,
}

// === impl Form ===

impl Form {
    /// The form in `body`, if the headers say that there is one. What is not well-formed is left out.
    pub(crate) fn of(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        if !content_type
            .get(..19)?
            .eq_ignore_ascii_case("multipart/form-data")
        {
            return None;
        }
        let boundary = content_type
            .split(';')
            .find_map(|part| part.trim().strip_prefix("boundary="))?;
        Some(Self::parse(boundary.trim_matches('"'), body))
    }

    fn parse(boundary: &str, body: &Bytes) -> Self {
        let mark = format!("--{boundary}");
        let mut form = Self::default();
        let starts: Vec<usize> = memmem::find_iter(body, mark.as_bytes()).collect();
        for pair in starts.windows(2) {
            let from = pair[0] + mark.len() + 2;
            let to = pair[1].saturating_sub(2);
            if from < to
                && let Some(part) = Part::parse(body.slice(from..to))
            {
                form.parts.push(part);
            }
        }
        form
    }

    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(&self.part(name)?.content).ok()
    }

    /// Of what the form says, not of how its boundary looks.
    pub(crate) fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for part in &self.parts {
            for piece in [
                part.name.as_bytes(),
                part.filename.as_deref().unwrap_or_default().as_bytes(),
                &part.content,
            ] {
                hasher.update(&piece.len().to_le_bytes());
                hasher.update(piece);
            }
        }
        hasher.finalize()
    }
}

// === impl Part ===

impl Part {
    fn parse(bytes: Bytes) -> Option<Self> {
        let blank = memmem::find(&bytes, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..blank]).ok()?;
        let disposition = head.lines().find(|line| {
            line.get(..20)
                .is_some_and(|name| name.eq_ignore_ascii_case("content-disposition:"))
        })?;
        let value = |name: &str| {
            let rest = disposition.split_once(&format!("; {name}=\""))?.1;
            Some(rest.split_once('"')?.0.to_owned())
        };
        Some(Self {
            name: value("name")?,
            filename: value("filename"),
            content: bytes.slice(blank + 4..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(boundary: &str) -> Form {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
             RIFF\r\n\r\ndata\r\n--{boundary}--\r\n"
        );
        Form::parse(boundary, &body.into())
    }

    #[test]
    fn fields_and_files_are_read_whole() {
        let form = form("xyz");
        assert_eq!(form.text("model"), Some("whisper-1"));
        let file = form.part("file").unwrap();
        assert_eq!(file.filename.as_deref(), Some("a.wav"));
        assert_eq!(&file.content[..], b"RIFF\r\n\r\ndata");
    }

    #[test]
    fn the_boundary_does_not_change_the_hash() {
        assert_eq!(form("one").hash(), form("two-longer").hash());
    }
}
