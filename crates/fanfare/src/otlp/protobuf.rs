//! Spans as a collector takes them: `ExportTraceServiceRequest` of OTLP 1, in the binary form of
//! protocol buffers. The numbers are those of opentelemetry/proto, where they never change.

use fanfare_server::Span;

/// The body of a request with these spans.
pub(crate) fn request(resource: &[(&str, &str)], spans: &[Span]) -> Vec<u8> {
    let mut attributes = Vec::new();
    for (key, value) in resource {
        message(&mut attributes, 1, &text_attribute(key, value));
    }
    let mut scope = Vec::new();
    bytes(&mut scope, 1, b"fanfare");
    let mut scope_spans = Vec::new();
    message(&mut scope_spans, 1, &scope);
    for span in spans {
        message(&mut scope_spans, 2, &self::span(span));
    }
    let mut resource_spans = Vec::new();
    message(&mut resource_spans, 1, &attributes);
    message(&mut resource_spans, 2, &scope_spans);
    let mut request = Vec::new();
    message(&mut request, 1, &resource_spans);
    request
}

fn span(span: &Span) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, &span.trace_id);
    bytes(&mut out, 2, &span.id);
    if let Some(parent_id) = &span.parent_id {
        bytes(&mut out, 4, parent_id);
    }
    bytes(&mut out, 5, b"publish");
    varint(&mut out, 6, KIND_SERVER);
    fixed64(&mut out, 7, span.began_ns);
    fixed64(&mut out, 8, span.ended_ns);
    let status = span.status.unwrap_or_default();
    let result = match status {
        0 => "aborted",
        200..300 => "accepted",
        429 | 500.. => "unavailable",
        _ => "refused",
    };
    message(&mut out, 9, &text_attribute("http.request.method", "POST"));
    if status > 0 {
        message(&mut out, 9, &attribute("http.response.status_code", status.into()));
    }
    message(&mut out, 9, &text_attribute("fanfare.result", result));
    message(&mut out, 9, &attribute("fanfare.channels", span.channels));
    message(&mut out, 9, &attribute("fanfare.events", span.events));
    message(&mut out, 9, &attribute("fanfare.bytes", span.bytes));
    if status >= 500 {
        let mut failed = Vec::new();
        varint(&mut failed, 3, STATUS_ERROR);
        message(&mut out, 15, &failed);
    }
    let remote = if span.parent_id.is_some() { FLAG_REMOTE } else { 0 };
    fixed32(&mut out, 16, FLAG_SAMPLED | FLAG_HAS_REMOTE | remote);
    out
}

fn text_attribute(key: &str, text: &str) -> Vec<u8> {
    let (mut pair, mut value) = (Vec::new(), Vec::new());
    bytes(&mut value, 1, text.as_bytes());
    bytes(&mut pair, 1, key.as_bytes());
    message(&mut pair, 2, &value);
    pair
}

fn attribute(key: &str, number: u64) -> Vec<u8> {
    let (mut pair, mut value) = (Vec::new(), Vec::new());
    varint(&mut value, 3, number);
    bytes(&mut pair, 1, key.as_bytes());
    message(&mut pair, 2, &value);
    pair
}

fn message(out: &mut Vec<u8>, field: u64, message: &[u8]) {
    bytes(out, field, message);
}

fn bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    number(out, field << 3 | 2);
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, field: u64, value: u64) {
    number(out, field << 3);
    number(out, value);
}

fn fixed64(out: &mut Vec<u8>, field: u64, value: u64) {
    number(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(out: &mut Vec<u8>, field: u64, value: u32) {
    number(out, field << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Seven bits a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const KIND_SERVER: u64 = 2;
const STATUS_ERROR: u64 = 2;
/// The trace flag of W3C.
const FLAG_SAMPLED: u32 = 1;
/// It is known whether the parent is of another process.
const FLAG_HAS_REMOTE: u32 = 0x100;
/// It is.
const FLAG_REMOTE: u32 = 0x200;

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Span {
        Span {
            trace_id: [1; 16],
            id: [2; 8],
            parent_id: Some([3; 8]),
            began_ns: 1 << 40,
            ended_ns: (1 << 40) + 5,
            status: Some(503),
            channels: 1,
            events: 300,
            bytes: 0,
        }
    }

    #[test]
    fn numbers_are_seven_bits_a_byte() {
        let written = |value| {
            let mut out = Vec::new();
            number(&mut out, value);
            out
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [127]);
        assert_eq!(written(300), [0xac, 2]);
        assert_eq!(written(u64::MAX).len(), 10);
    }

    #[test]
    fn a_span_is_what_the_protocol_says() {
        let out = span(&some());
        let mut expected = vec![0x0a, 16];
        expected.extend([1; 16]);
        expected.extend([0x12, 8]);
        expected.extend([2; 8]);
        expected.extend([0x22, 8]);
        expected.extend([3; 8]);
        expected.extend(b"\x2a\x07publish\x30\x02\x39\0\0\0\0\0\x01\0\0\x41\x05\0\0\0\0\x01\0\0");
        assert_eq!(out[..expected.len()], expected);
        let events = b"\x4a\x15\x0a\x0efanfare.events\x12\x03\x18\xac\x02";
        assert!(out.windows(events.len()).any(|window| window == events));
        // The status, and the flags at the end: field 16 has a tag of two bytes.
        assert!(out.ends_with(b"\x7a\x02\x18\x02\x85\x01\x01\x03\0\0"), "{out:x?}");
        let root = span(&Span { parent_id: None, status: None, ..some() });
        assert!(root.ends_with(b"\x85\x01\x01\x01\0\0"));
        assert!(!root.windows(2).any(|window| window == [0x7a, 2]));
    }
}
