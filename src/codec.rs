//! Content codings (`content-encoding`): gzip, deflate, br, zstd, and several of them stacked.
//!
//! Whole bodies are decoded under a bound, since a kilobyte may hold a gigabyte; streams are
//! decoded as they come and their bound is the reader's. What is passed on untouched is never
//! decoded at all.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use http_body::{Body, Frame};
use http_body_util::{BodyDataStream, StreamBody};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};
use tokio_util::io::{ReaderStream, StreamReader};

/// Most codings that may be stacked on one body. Real senders use one, at times two.
const MAX_CODINGS: usize = 4;
/// Longer names of codings are not quoted.
const LONGEST_CODING: usize = 16;

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A coding we do not know. To be answered with 415; trying again cannot help.
    #[error("unknown content-encoding `{0}`")]
    Unknown(String),
    /// More codings than anyone needs.
    #[error("more than {MAX_CODINGS} content codings on one body")]
    Stacked,
    /// The decoded body is larger than the bound. To be answered with 413.
    #[error("the decoded body is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The bytes are not what the coding says, or they end too early.
    #[error("the body is not valid {encoding}: {source}")]
    Corrupt {
        /// The codings as told.
        encoding: String,
        /// What the decoder said.
        source: io::Error,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

type Reader<'a> = Pin<Box<dyn AsyncBufRead + Send + 'a>>;

/// Whether the value names no coding at all, so that the bytes are the body.
pub fn is_identity(encoding: &str) -> bool {
    encoding
        .split(',')
        .all(|word| matches!(word.trim(), "") || word.trim().eq_ignore_ascii_case("identity"))
}

/// Decodes a whole body. `encoding` is the header's value; codings are undone last one first.
///
/// # Errors
/// See [`DecodeError`]; none is cured by trying again.
pub fn decode_all(encoding: &str, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    let codings = codings(encoding)?;
    if codings.is_empty() || body.is_empty() {
        if body.len() > limit {
            return Err(DecodeError::TooLarge { limit });
        }
        return Ok(body);
    }
    let reader = stack(&codings, Box::pin(&body[..]));
    // All input is there, so no read ever waits and the future is done at the first poll.
    let read = read_bounded(reader, body.len(), limit).now_or_never();
    let corrupt = |source| DecodeError::Corrupt {
        encoding: encoding.to_owned(),
        source,
    };
    match read {
        Some(Ok(Some(decoded))) => Ok(decoded),
        Some(Ok(None)) => Err(DecodeError::TooLarge { limit }),
        Some(Err(source)) => Err(corrupt(source)),
        None => Err(corrupt(io::ErrorKind::WouldBlock.into())),
    }
}

/// `None`: the bound was passed. No more than one buffer beyond it is ever decoded.
async fn read_bounded(
    mut reader: Reader<'_>,
    encoded: usize,
    limit: usize,
) -> io::Result<Option<Bytes>> {
    let mut out =
        BytesMut::with_capacity(encoded.saturating_mul(4).clamp(1024, 1 << 20).min(limit));
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(Some(out.freeze()));
        }
        if out.len() + chunk.len() > limit {
            return Ok(None);
        }
        out.extend_from_slice(chunk);
        let len = chunk.len();
        reader.consume(len);
    }
}

/// Decodes a body while it is read. Data is given out as soon as the sender flushed it, so a
/// compressed event stream stays a stream. Trailers are dropped.
///
/// # Errors
/// When the encoding is not known. Corrupt data and the inner body's errors become errors of the
/// new body.
pub fn decode_stream<B>(
    encoding: &str,
    body: B,
) -> Result<impl Body<Data = Bytes, Error = io::Error> + Send + use<B>, DecodeError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let codings = codings(encoding)?;
    let data = BodyDataStream::new(body).map_err(io::Error::other);
    let frames = if codings.is_empty() {
        data.left_stream()
    } else {
        let reader = stack(&codings, Box::pin(StreamReader::new(data)));
        ReaderStream::with_capacity(reader, 16 << 10).right_stream()
    };
    Ok(StreamBody::new(frames.map_ok(Frame::data)))
}

/// In the order they are undone: the last one named was applied last.
fn codings(encoding: &str) -> Result<Vec<Coding>, DecodeError> {
    let mut codings = Vec::new();
    for word in encoding.rsplit(',') {
        let word = word.trim().to_ascii_lowercase();
        codings.push(match word.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => {
                // No coding has such a name, but a key has.
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                let is_name = word.len() <= LONGEST_CODING && word.bytes().all(plain);
                let shown = if is_name { word } else { "***".to_owned() };
                return Err(DecodeError::Unknown(shown));
            }
        });
        if codings.len() > MAX_CODINGS {
            return Err(DecodeError::Stacked);
        }
    }
    Ok(codings)
}

fn stack<'a>(codings: &[Coding], reader: Reader<'a>) -> Reader<'a> {
    codings.iter().fold(reader, |reader, coding| match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            // Several gzip members in a row are one body (RFC 1952).
            decoder.multiple_members(true);
            buffered(decoder)
        }
        Coding::Deflate => buffered(Deflate::Unknown(Some(reader))),
        Coding::Brotli => buffered(BrotliDecoder::new(reader)),
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::new(reader);
            decoder.multiple_members(true);
            buffered(decoder)
        }
    })
}

fn buffered<'a>(decoder: impl AsyncRead + Send + 'a) -> Reader<'a> {
    Box::pin(BufReader::with_capacity(16 << 10, decoder))
}

/// `deflate` means zlib by the standard, and a bare deflate stream to some old senders. Which one
/// shows in the first byte: zlib's has 8 in its low half, which no encoder's bare stream has.
enum Deflate<'a> {
    Unknown(Option<Reader<'a>>),
    Zlib(ZlibDecoder<Reader<'a>>),
    Bare(DeflateDecoder<Reader<'a>>),
}

// === impl Deflate ===

impl AsyncRead for Deflate<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let next = match &mut *self {
                Self::Zlib(decoder) => return Pin::new(decoder).poll_read(cx, buf),
                Self::Bare(decoder) => return Pin::new(decoder).poll_read(cx, buf),
                Self::Unknown(None) => return Poll::Ready(Ok(())),
                Self::Unknown(slot @ Some(_)) => {
                    let Some(reader) = slot else {
                        return Poll::Ready(Ok(()));
                    };
                    let first = ready!(reader.as_mut().poll_fill_buf(cx))?.first().copied();
                    match (first, slot.take()) {
                        (Some(byte), Some(reader)) if byte & 0x0F == 8 => {
                            Self::Zlib(ZlibDecoder::new(reader))
                        }
                        (Some(_), Some(reader)) => Self::Bare(DeflateDecoder::new(reader)),
                        _ => Self::Unknown(None),
                    }
                }
            };
            *self = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{
        BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
    };
    use async_compression::tokio::write;
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn encode(coding: &str, plain: &[u8]) -> Bytes {
        let mut out = Vec::new();
        let done = match coding {
            "gzip" => GzipEncoder::new(plain).read_to_end(&mut out).now_or_never(),
            "deflate" => ZlibEncoder::new(plain).read_to_end(&mut out).now_or_never(),
            "bare" => DeflateEncoder::new(plain)
                .read_to_end(&mut out)
                .now_or_never(),
            "br" => BrotliEncoder::new(plain)
                .read_to_end(&mut out)
                .now_or_never(),
            "zstd" => ZstdEncoder::new(plain).read_to_end(&mut out).now_or_never(),
            _ => return Bytes::copy_from_slice(plain),
        };
        done.unwrap().unwrap();
        out.into()
    }

    const CODINGS: [&str; 5] = ["gzip", "deflate", "br", "zstd", "identity"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_was_encoded_is_decoded(plain in prop::collection::vec(any::<u8>(), 0..3000),
                                       one in 0..5usize, two in 0..5usize) {
            let (one, two) = (CODINGS[one], CODINGS[two]);
            let body = encode(two, &encode(one, &plain));
            let decoded = decode_all(&format!("{one}, {two}"), body, 3000).unwrap();
            prop_assert_eq!(&decoded[..], &plain[..]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_body_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200), coding in 0..4usize) {
            let _ = decode_all(CODINGS[coding], body.into(), 10_000).map(|plain| assert!(plain.len() <= 10_000));
        }
    }

    #[test]
    fn an_empty_body_is_empty_in_any_coding() {
        for coding in CODINGS {
            assert_eq!(decode_all(coding, Bytes::new(), 0).unwrap(), "");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_bound() {
        let plain = vec![b'a'; 8 << 20];
        for coding in CODINGS {
            let body = encode(coding, &plain);
            let error = decode_all(coding, body.clone(), plain.len() - 1).unwrap_err();
            assert!(
                matches!(error, DecodeError::TooLarge { .. }),
                "{coding}: {error}"
            );
            assert_eq!(
                decode_all(coding, body, plain.len()).unwrap().len(),
                plain.len()
            );
        }
    }

    #[test]
    fn bare_deflate_and_several_gzip_members_are_understood() {
        assert_eq!(
            decode_all("deflate", encode("bare", b"hello"), 9).unwrap(),
            "hello"
        );
        let two = [encode("gzip", b"ab"), encode("gzip", b"cd")].concat();
        assert_eq!(decode_all("x-gzip", two.into(), 9).unwrap(), "abcd");
    }

    #[test]
    fn cut_and_foreign_bytes_are_corrupt() {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let body = encode(coding, b"hello hello hello hello");
            let cut = body.slice(..body.len() - 3);
            for bad in [cut, Bytes::from_static(b"\xFFnot it at all")] {
                let error = decode_all(coding, bad, 99).unwrap_err();
                assert!(
                    matches!(error, DecodeError::Corrupt { .. }),
                    "{coding}: {error}"
                );
            }
        }
    }

    #[test]
    fn unknown_and_endless_codings_are_refused() {
        let decode = |encoding: &str| decode_all(encoding, Bytes::new(), 9).unwrap_err();
        assert!(matches!(decode("gzip, lzma"), DecodeError::Unknown(word) if word == "lzma"));
        assert!(matches!(decode("br,br,br,br,br"), DecodeError::Stacked));
        assert!(is_identity(" Identity ,") && !is_identity("gzip"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_compressed_stream_is_decoded_as_far_as_it_was_flushed() {
        let (mut sender, receiver) = tokio::io::duplex(1 << 16);
        let body = StreamBody::new(ReaderStream::new(receiver).map_ok(Frame::data));
        let mut decoded = Box::pin(decode_stream("gzip", body).unwrap());
        let mut encoder = write::GzipEncoder::new(Vec::new());
        for part in ["data: one\n\n", "data: two\n\n"] {
            encoder.write_all(part.as_bytes()).await.unwrap();
            encoder.flush().await.unwrap();
            sender.write_all(encoder.get_ref()).await.unwrap();
            encoder.get_mut().clear();
            let frame = decoded.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), part.as_bytes());
        }
        drop(sender);
        assert!(
            decoded.frame().await.unwrap().is_err(),
            "cut before the gzip trailer"
        );
    }
}
