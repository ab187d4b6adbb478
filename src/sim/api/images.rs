//! `POST /v1/images/generations`, `/edits`, `/variations`: small true PNGs.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call,
    check::{self, Raw},
};
use crate::sim::{dice::Dice, error::ApiError, limits::Ask, text::estimate, wire::Reply};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    prompt: Raw<'a>,
    #[serde(borrow, default)]
    n: Raw<'a>,
    #[serde(borrow, default)]
    response_format: Raw<'a>,
}

pub(crate) fn generate(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: Body<'_> = call.json()?;
    let model = check::string(body.model, "model")?.unwrap_or("gpt-image-1".into());
    let prompt =
        check::string(body.prompt, "prompt")?.ok_or_else(|| ApiError::missing("prompt"))?;
    let n = check::integer(body.n, "n", 1, 10)?.unwrap_or(1);
    let by_url = check::string(body.response_format, "response_format")?
        .is_some_and(|format| format == "url");
    pictures(call, &model, estimate(prompt.len()), n, by_url)
}

pub(crate) fn edit(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let form = call.form()?;
    let image = form
        .part("image")
        .or_else(|| form.part("image[]"))
        .ok_or_else(|| ApiError::missing("image"))?;
    let tokens = estimate(form.text("prompt").unwrap_or_default().len())
        + estimate(image.content.len() / 64);
    let model = form.text("model").unwrap_or("gpt-image-1").to_owned();
    let n = form
        .text("n")
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_u32)
        .clamp(1, 10);
    let by_url = form.text("response_format") == Some("url");
    pictures(call, &model, tokens, n, by_url)
}

fn pictures(
    call: &mut Call<'_>,
    model: &str,
    input: u64,
    n: u32,
    by_url: bool,
) -> Result<Reply, ApiError> {
    let ask = Ask {
        images: u64::from(n),
        ..Ask::text(input, 0)
    };
    call.admit(model, ask)?;
    let output = 272 * u64::from(n);
    call.charge(model, input, output);
    let mut dice = call.dice(1);
    let mut data = Vec::new();
    for _ in 0..n {
        data.push(if by_url {
            json!({"url": format!("https://images.example.com/{}.png", dice.hex_id("img-", 16))})
        } else {
            json!({"b64_json": STANDARD.encode(png(&mut dice))})
        });
    }
    let usage: Value = json!({
        "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
        "input_tokens_details": {"text_tokens": input, "image_tokens": 0},
    });
    let answer = json!({
        "created": call.created(), "background": "opaque", "data": data, "output_format": "png", "quality": "low",
        "size": "1024x1024", "usage": usage,
    });
    Ok(Reply::json(format!("{answer:#}\n")))
}

/// A picture of 16 × 16 grey pixels: uncompressed, so that no image library is needed.
fn png(dice: &mut Dice) -> Vec<u8> {
    const SIDE: u32 = 16;
    let mut rows = Vec::new();
    for _ in 0..SIDE {
        rows.push(0);
        rows.extend((0..SIDE).map(|_| dice.next() as u8));
    }
    // zlib: header, one stored block, checksum.
    let length = rows.len() as u16;
    let mut idat = vec![0x78, 0x01, 0x01];
    idat.extend(length.to_le_bytes());
    idat.extend((!length).to_le_bytes());
    let (a, b) = rows.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    idat.extend(&rows);
    idat.extend((b << 16 | a).to_be_bytes());

    let mut header = Vec::new();
    header.extend(SIDE.to_be_bytes());
    header.extend(SIDE.to_be_bytes());
    header.extend([8, 0, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", &header), (b"IDAT", &idat), (b"IEND", &Vec::new())] {
        out.extend((data.len() as u32).to_be_bytes());
        let start = out.len();
        out.extend(kind);
        out.extend(data);
        let crc = crc32(&out[start..]);
        out.extend(crc.to_be_bytes());
    }
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, &byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_ones_png_wants() {
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
        assert!(png(&mut Dice::new(1, 1)).starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"));
    }
}
