//! Data as a service of language models streams it: a chunk of a chat completion, some 230 bytes of
//! JSON around a token. The token is a stamp and a number, as all data of a load test begins.

use std::borrow::Cow;

use serde_json::Value;

use super::{DATA_BYTES_MIN, read, write};

/// What is around the token.
const HEAD: &str = concat!(
    r#"{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","#,
    r#""created":1741570283,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"#,
    r#""delta":{"content":""#
);
const TAIL: &str = r#""},"finish_reason":null}]}"#;

/// Appends the chunk of a token.
pub(crate) fn write_chunk(out: &mut Vec<u8>, stamp_ns: u64, number: u64) {
    out.extend_from_slice(HEAD.as_bytes());
    write(out, stamp_ns, number, DATA_BYTES_MIN);
    out.extend_from_slice(TAIL.as_bytes());
}

/// Takes the events that data stands for: one, or the tokens of a chunk, of which there are several
/// if the hub merged chunks. Returns what has to be the same for everybody who gets the last of
/// them under the same id; none if the data is not of a load test.
pub(crate) fn take<'a>(data: &'a [u8], mut each: impl FnMut(u64, u64)) -> Option<Cow<'a, [u8]>> {
    if !data.starts_with(b"{") {
        let (stamp_ns, number) = read(data)?;
        each(stamp_ns, number);
        return Some(data.into());
    }
    let plain = data.strip_prefix(HEAD.as_bytes()).and_then(|rest| {
        let content = rest.strip_suffix(TAIL.as_bytes())?;
        (!content.contains(&b'"')).then_some(content)
    });
    let content = plain.map_or_else(|| spelled_anew(data).map(Cow::Owned), |c| Some(c.into()))?;
    let (tokens, rest) = content.as_chunks::<DATA_BYTES_MIN>();
    if !rest.is_empty() {
        return None;
    }
    for token in tokens {
        let (stamp_ns, number) = read(token)?;
        each(stamp_ns, number);
    }
    let last = content.len().checked_sub(DATA_BYTES_MIN)?;
    Some(match content {
        Cow::Borrowed(content) => content[last..].into(),
        Cow::Owned(content) => content[last..].to_vec().into(),
    })
}

/// The content of a chunk that says the same in another spelling, as merging may leave it.
fn spelled_anew(data: &[u8]) -> Option<Vec<u8>> {
    const CONTENT: &str = "/choices/0/delta/content";
    let mut chunk: Value = serde_json::from_slice(data).ok()?;
    let mut content = String::new();
    std::mem::swap(
        &mut content,
        match chunk.pointer_mut(CONTENT)? {
            Value::String(content) => content,
            _ => return None,
        },
    );
    let empty: Value = serde_json::from_str(&format!("{HEAD}{TAIL}")).ok()?;
    (chunk == empty).then(|| content.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(numbers: std::ops::RangeInclusive<u64>) -> String {
        let mut data = Vec::new();
        numbers.for_each(|number| write(&mut data, 1_000 + number, number, DATA_BYTES_MIN));
        format!("{HEAD}{}{TAIL}", String::from_utf8(data).unwrap())
    }

    fn numbers(data: &str) -> Option<Vec<(u64, u64)>> {
        let mut all = Vec::new();
        take(data.as_bytes(), |stamp_ns, number| all.push((stamp_ns, number))).map(|_| all)
    }

    #[test]
    fn a_chunk_is_as_long_as_that_of_a_service() {
        let mut data = Vec::new();
        write_chunk(&mut data, 1_007, 7);
        assert_eq!(String::from_utf8(data.clone()).unwrap(), chunk(7..=7));
        assert!((225..=235).contains(&data.len()), "{}", data.len());
        assert!(serde_json::from_slice::<Value>(&data).is_ok());
    }

    #[test]
    fn each_token_is_taken() {
        assert_eq!(numbers(&chunk(7..=7)), Some(vec![(1_007, 7)]));
        let three = Some(vec![(1_007, 7), (1_008, 8), (1_009, 9)]);
        assert_eq!(numbers(&chunk(7..=9)), three);
        let mut spaced = chunk(7..=9).replace("\":", "\": ");
        assert_eq!(numbers(&spaced), three, "another spelling says the same");
        spaced.truncate(spaced.len() - 1);
        assert_eq!(numbers(&spaced), None);
        assert_eq!(numbers(&chunk(7..=7).replace("index\":0", "index\":1")), None);
        assert_eq!(numbers(&chunk(7..=7).replace("000000", "00000")), None);
        assert_eq!(numbers(&chunk(7..=7).replace("null", "\"stop\"")), None);
        assert_eq!(numbers("{}"), None);
    }

    #[test]
    fn who_gets_the_same_last_token_agrees() {
        let last = |data: &str| take(data.as_bytes(), |_, _| {}).map(Cow::into_owned);
        assert_eq!(last(&chunk(7..=9)), last(&chunk(9..=9)));
        assert_ne!(last(&chunk(7..=9)), last(&chunk(7..=8)));
    }
}
