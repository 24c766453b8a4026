//! What a hub tells its operators of itself: its metrics, as Prometheus text.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer that is longer is none.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The metrics at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The head of the answer and the text.
    answer: String,
}

impl Metrics {
    /// Asks for them.
    pub(crate) async fn scrape(admin: SocketAddr) -> io::Result<Self> {
        let answer = timeout(PATIENCE, ask(admin)).await.map_err(io::Error::from)??;
        if !answer.starts_with("HTTP/1.1 200 ") {
            let status = answer.lines().next().unwrap_or_default();
            return Err(io::Error::other(format!("/metrics of {admin}: {status:?}")));
        }
        Ok(Self { answer })
    }

    /// The value of a sample by its name and labels, such as `fanfare_gaps_total{reason="epoch"}`;
    /// without labels the sum of all samples of that name.
    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        let value = |line: &str| -> Option<u64> {
            let rest = line.strip_prefix(name)?;
            let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
            rest.strip_prefix(' ')?.trim().parse().ok()
        };
        self.answer.lines().filter_map(value).reduce(|sum, more| sum + more)
    }
}

async fn ask(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let answer = "HTTP/1.1 200 OK\r\n\r\n# TYPE a counter\na 7\na_b 8\na{c=\"d\"} 9\n\
                      e{f=\"1\"} 1\ne{f=\"2\"} 2\n";
        let metrics = Metrics { answer: answer.to_owned() };
        assert_eq!(metrics.value("a_b"), Some(8));
        assert_eq!(metrics.value("e"), Some(3));
        assert_eq!(metrics.value("a{c=\"d\"}"), Some(9));
        assert_eq!(metrics.value("b"), None);
    }
}
