//! `POST /v1/audio/transcriptions`, `/translations` (form in) and `/speech` (bytes out).

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call,
    check::{self, Raw},
};
use crate::sim::{
    error::ApiError,
    limits::Ask,
    text::{Directives, Prose, estimate},
    wire::{Dialect, EventWriter, Payload, Reply},
};

/// Bytes of sound taken for a second.
const BYTES_PER_SECOND: usize = 16_000;
const PIECE: usize = 4096;

#[derive(Deserialize)]
struct SpeechBody<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    input: Raw<'a>,
    #[serde(borrow, default)]
    voice: Raw<'a>,
    #[serde(borrow, default)]
    response_format: Raw<'a>,
}

pub(crate) fn transcribe(call: &mut Call<'_>, translated: bool) -> Result<Reply, ApiError> {
    let form = call.form()?;
    let file = form.part("file").ok_or_else(|| ApiError::missing("file"))?;
    let (name, size) = (
        file.filename.clone().unwrap_or_default(),
        file.content.len(),
    );
    let model = form
        .text("model")
        .filter(|model| !model.is_empty())
        .ok_or_else(ApiError::no_model_parameter)?
        .to_owned();
    let format = form.text("response_format").unwrap_or("json").to_owned();
    let stream = form.text("stream") == Some("true");
    let hint = form.text("prompt").unwrap_or_default().to_owned();
    let language = form.text("language").unwrap_or("english").to_owned();
    if !matches!(
        &*format,
        "json" | "text" | "verbose_json" | "srt" | "vtt" | "diarized_json"
    ) {
        return Err(ApiError::invalid(format!(
            "Invalid value: '{format}'. Supported values are: 'json', 'text', 'srt', 'verbose_json', and 'vtt'."
        ))
        .param("response_format")
        .code("invalid_value"));
    }
    if size == 0 {
        return Err(ApiError::invalid(format!(
            "Audio file '{name}' might be corrupted or unsupported"
        ))
        .param("file")
        .code("invalid_value"));
    }
    let seconds = (size as f64 / BYTES_PER_SECOND as f64).max(0.1);
    let input = (seconds * 10.0).ceil() as u64;
    call.admit(&model, Ask::text(input, 0))?;
    let directives = Directives::read(&hint);
    let prose = match directives.say {
        Some(text) => Prose::given(text),
        None => Prose::filler(&mut call.dice(2), directives.tokens.unwrap_or(12)),
    };
    let output = prose.tokens() as u64;
    call.charge(&model, input, output);
    let usage = json!({
        "type": "tokens", "total_tokens": input + output, "input_tokens": input, "output_tokens": output,
        "input_token_details": {"text_tokens": 0, "audio_tokens": input},
    });
    if stream {
        return Ok(transcript_stream(&prose, &usage, directives.event_ms));
    }
    let text = prose.text;
    let plain = |text: String| Reply::whole("text/plain; charset=utf-8", text.into());
    Ok(match &*format {
        "text" => plain(format!("{text}\n")),
        "srt" => plain(format!(
            "1\n00:00:00,000 --> {}\n{text}\n\n",
            stamp(seconds, ',')
        )),
        "vtt" => plain(format!(
            "WEBVTT\n\n00:00:00.000 --> {}\n{text}\n\n",
            stamp(seconds, '.')
        )),
        "verbose_json" => {
            let task = if translated {
                "translate"
            } else {
                "transcribe"
            };
            Reply::json(verbose(task, &language, seconds, &text).to_string())
        }
        _ => Reply::json(json!({"text": text, "usage": usage}).to_string()),
    })
}

fn transcript_stream(prose: &Prose, usage: &Value, gap_ms: u64) -> Reply {
    let mut events = EventWriter::new(Dialect::Chat, 2048);
    events.content_starts();
    let mut event = |value: Value| {
        events.out.push_str(&format!("data: {value}"));
        events.end();
    };
    for token in prose.iter() {
        event(json!({"type": "transcript.text.delta", "delta": token}));
    }
    event(json!({"type": "transcript.text.done", "text": prose.text, "usage": usage}));
    Reply::events(events.finish(gap_ms))
}

fn verbose(task: &str, language: &str, seconds: f64, text: &str) -> Value {
    json!({
        "task": task, "language": language, "duration": seconds, "text": text,
        "segments": [{
            "id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": text, "tokens": [50364, 50664],
            "temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.2, "no_speech_prob": 0.01,
        }],
        "usage": {"type": "duration", "seconds": seconds.ceil()},
    })
}

/// A point in time as subtitles write it.
fn stamp(seconds: f64, point: char) -> String {
    let ms = (seconds * 1000.0) as u64;
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{h:02}:{m:02}:{s:02}{point}{:03}", ms % 1000)
}

pub(crate) fn speech(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: SpeechBody<'_> = call.json()?;
    let model = check::model(body.model)?;
    let input = check::string(body.input, "input")?.ok_or_else(|| ApiError::missing("input"))?;
    check::string(body.voice, "voice")?;
    if body.voice.is_none() {
        return Err(ApiError::missing("voice"));
    }
    let format = check::string(body.response_format, "response_format")?.unwrap_or("mp3".into());
    let content_type = match &*format {
        "mp3" => "audio/mpeg",
        "opus" => "audio/opus",
        "aac" => "audio/aac",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "pcm" => "audio/pcm",
        other => {
            return Err(ApiError::invalid(format!(
                "Invalid value: '{other}'. Supported values are: 'mp3', 'opus', 'aac', 'flac', 'wav', and 'pcm'."
            ))
            .param("response_format")
            .code("invalid_value"));
        }
    };
    let tokens = estimate(input.len());
    call.admit(&model, Ask::text(tokens, 0))?;
    call.charge(&model, tokens, input.len() as u64);
    let directives = Directives::read(&input);
    let sound = sound(call, &format, input.len());
    let mut reply = Reply::whole(content_type, Bytes::new());
    reply.payload = Payload::Pieces(sound, PIECE);
    reply.delay = Duration::from_millis(directives.delay_ms);
    Ok(reply)
}

/// Noise behind the magic number of the format, about as long as the text would be.
fn sound(call: &Call<'_>, format: &str, chars: usize) -> Bytes {
    let length = 2_048 + chars.min(4_096) * 64;
    let magic: &[u8] = match format {
        "mp3" => b"\xff\xfb\x90\x00",
        "opus" => b"OggS",
        "flac" => b"fLaC",
        "aac" => b"\xff\xf1",
        _ => b"",
    };
    let mut out = Vec::with_capacity(length + 44);
    if format == "wav" {
        out.extend(b"RIFF");
        out.extend((length as u32 + 36).to_le_bytes());
        out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        out.extend(24_000_u32.to_le_bytes());
        out.extend(48_000_u32.to_le_bytes());
        out.extend(b"\x02\0\x10\0data");
        out.extend((length as u32).to_le_bytes());
    } else {
        out.extend(magic);
    }
    let mut dice = call.dice(3);
    let end = out.len() + length;
    while out.len() < end {
        out.extend(dice.next().to_le_bytes());
    }
    out.truncate(end);
    out.into()
}
