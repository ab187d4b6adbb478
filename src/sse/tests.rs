//! Decode of a stream split anywhere is decode of the whole.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// What a client sees of an event.
type Seen = (Kind, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<u64>);

fn seen(event: &EventRef<'_>) -> Seen {
    (
        event.kind,
        event.data.to_vec(),
        event.name.map(<[u8]>::to_vec),
        event.id.map(<[u8]>::to_vec),
        event.retry,
    )
}

fn inspect(chunks: &[&[u8]]) -> (Vec<Seen>, Vec<u8>, usize) {
    let mut inspector = Inspector::default();
    let (mut events, mut raws) = (Vec::new(), Vec::new());
    for chunk in chunks {
        inspector
            .feed(chunk, |event| {
                events.push(seen(&event));
                raws.extend_from_slice(event.raw);
            })
            .unwrap();
    }
    let left = inspector.finish(|event| raws.extend_from_slice(event.raw));
    (events, raws, left)
}

fn decode(chunks: &[&[u8]]) -> (Vec<Seen>, Vec<u8>, usize) {
    let mut decoder = Decoder::default();
    let (mut events, mut raws) = (Vec::new(), Vec::new());
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(seen(&event.as_ref()));
            raws.extend_from_slice(&event.raw);
        }
    }
    let rest = decoder.into_rest();
    raws.extend_from_slice(&rest);
    (events, raws, rest.len())
}

fn visible(events: &[Seen]) -> Vec<Seen> {
    events
        .iter()
        .filter(|event| event.0 != Kind::Blank)
        .cloned()
        .collect()
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("data: {\"a\":1}".to_owned()),
        Just("data:".to_owned()),
        Just("data".to_owned()),
        Just("data:  two spaces".to_owned()),
        Just("event: response.created".to_owned()),
        Just(": comment".to_owned()),
        Just("id: 7".to_owned()),
        Just("retry: 10".to_owned()),
        Just("retry: x".to_owned()),
        Just("unknown: z".to_owned()),
        Just(String::new()),
        Just(String::new()),
        "[a-z:é ]{0,6}",
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    (any::<bool>(), prop::collection::vec((line, end), 0..30)).prop_map(|(bom, lines)| {
        let mut text = if bom {
            "\u{feff}".to_owned()
        } else {
            String::new()
        };
        for (line, end) in lines {
            text.push_str(&line);
            text.push_str(end);
        }
        text.into_bytes()
    })
}

/// The standard's own algorithm, line by line, as slow and plain as it is written.
fn reference(text: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut data, mut name, mut out) = (String::new(), None, Vec::new());
    let mut lines: Vec<_> = text.split('\n').collect();
    lines.pop();
    for line in lines {
        if line.is_empty() {
            if let Some(whole) = data.strip_suffix('\n') {
                out.push((whole.as_bytes().to_vec(), name.clone()));
            }
            (data, name) = (String::new(), None);
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "event" => name = Some(value.as_bytes().to_vec()),
            _ => {}
        }
    }
    out
}

proptest! {
    #[test]
    fn split_anywhere_is_the_whole(text in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let whole = inspect(&[&text]);
        let split = inspect(&chunks);
        prop_assert_eq!(visible(&whole.0), visible(&split.0));
        prop_assert_eq!(&split.1, &text);
        prop_assert_eq!(&split, &decode(&chunks));
        prop_assert_eq!(&whole, &decode(&[&text]));
    }

    #[test]
    fn messages_are_those_of_the_standard(text in stream()) {
        let ours: Vec<_> = inspect(&[&text]).0.into_iter()
            .filter(|event| event.0 == Kind::Message)
            .map(|event| (event.1, event.2)).collect();
        prop_assert_eq!(ours, reference(&text));
    }

    #[test]
    fn what_we_encode_is_what_is_decoded(body in "[ -~\n]{0,40}", name in "[a-z.]{1,10}") {
        let (events, _, left) = inspect(&[&named(&name, body.as_bytes())]);
        prop_assert_eq!(left, 0);
        prop_assert_eq!(events, vec![(Kind::Message, body.clone().into_bytes(), Some(name.into_bytes()), None, None)]);
        prop_assert_eq!(&inspect(&[&data(body.as_bytes())]).0[0].1, body.as_bytes());
    }
}

#[test]
fn a_whole_event_shares_the_chunk() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
    let mut decoder = Decoder::default();
    decoder.push(chunk.clone());
    let event = decoder.next_event().unwrap().unwrap();
    assert_eq!(event.raw.as_ptr(), chunk.as_ptr());
    assert_eq!(event.data.as_ptr(), chunk[6..].as_ptr());
}

#[test]
fn the_bound_holds_for_whole_and_for_growing_events() {
    let limit = EventTooLarge { limit: 10 };
    let mut inspector = Inspector::new(10);
    assert_eq!(inspector.feed(b"data: 12\n\n", |_| {}), Ok(10));
    assert_eq!(inspector.feed(b"data: 123\n\n", |_| {}), Err(limit));
    let mut inspector = Inspector::new(10);
    assert_eq!(inspector.feed(b"data: ", |_| {}), Ok(0));
    assert_eq!(inspector.feed(b"12345", |_| {}), Err(limit));
    let mut decoder = Decoder::new(10);
    decoder.push(Bytes::from_static(b"data: "));
    assert_eq!(decoder.next_event(), Ok(None));
    decoder.push(Bytes::from_static(b"12345"));
    assert_eq!(decoder.next_event(), Err(limit));
}

#[test]
fn the_tail_buffer_is_given_back() {
    let mut inspector = Inspector::default();
    assert_eq!(inspector.feed(b"data: a\n\ndata: b", |_| {}), Ok(9));
    assert_eq!(inspector.pending(), 7);
    assert_eq!(inspector.feed(b"\n\n", |_| {}), Ok(2));
    assert_eq!((inspector.pending(), inspector.tail_capacity()), (0, 0));
}

#[test]
fn an_event_without_its_empty_line_is_shown_at_the_end_only() {
    let mut inspector = Inspector::default();
    inspector
        .feed(b"data: [DONE]\n", |_| panic!("not yet"))
        .unwrap();
    let mut last = Vec::new();
    assert_eq!(inspector.finish(|event| last = event.data.to_vec()), 13);
    assert_eq!(last, b"[DONE]");
}

#[test]
fn a_comment_is_no_newline_injection() {
    assert_eq!(comment("a\ndata: b"), ": a data: b\n\n");
}

proptest! {
    #[test]
    fn no_byte_is_lost_whatever_comes(text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b':')], 0..60), size in 1..9usize) {
        let chunks: Vec<&[u8]> = text.chunks(size).collect();
        prop_assert_eq!(&inspect(&chunks).1, &text);
        prop_assert_eq!(&decode(&chunks).1, &text);
    }
}
