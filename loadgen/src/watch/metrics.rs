//! The gateway's own figures: its `/metrics`, asked for once in a while over a socket of the moment.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long connecting, asking and each piece of the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_LEN_MAX: u64 = 4 << 20;

/// What the gateway said at one moment.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks the gateway.
    ///
    /// # Errors
    /// When nobody answers there within two seconds, or says something else than metrics.
    pub fn fetch(http: SocketAddr) -> io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&http, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.take(ANSWER_LEN_MAX).read_to_string(&mut answer)?;
        Self::parse(&answer)
    }

    fn parse(answer: &str) -> io::Result<Self> {
        let told = |what: String| io::Error::other(format!("/metrics: {what}"));
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| told("the answer has no end".to_owned()))?;
        let status = head.lines().next().unwrap_or_default();
        match status.split_ascii_whitespace().nth(1) {
            Some("200") => Ok(Self(body.to_owned())),
            _ => Err(told(format!("the answer is {status:?}"))),
        }
    }

    /// The sum of a metric over all its labels; nothing if there is none of that name.
    #[must_use]
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.sum_where(name, |_| true)
    }

    /// The sum over those of its labels that contain this one, such as `code="slow_reader"`.
    #[must_use]
    pub fn sum_with(&self, name: &str, label: &str) -> Option<f64> {
        self.sum_where(name, |labels| labels.split(',').any(|known| known == label))
    }

    fn sum_where(&self, name: &str, counts: impl Fn(&str) -> bool) -> Option<f64> {
        let lines = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let bare = rest.strip_prefix(' ').map(|value| ("", value));
            let (labels, value) = bare.or_else(|| rest.strip_prefix('{')?.rsplit_once("} "))?;
            value.trim().parse::<f64>().ok().filter(|_| counts(labels))
        });
        lines.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n# TYPE a gauge\na 5\na_total{x=\"1\"} 2\n\
                          a_total{x=\"} 9\"} 3\nab 7\n";

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_of_a_longer_name() {
        let metrics = Metrics::parse(ANSWER).unwrap();
        assert_eq!(
            [metrics.sum("a"), metrics.sum("a_total"), metrics.sum("b"), metrics.sum("a_tota")],
            [Some(5.0), Some(5.0), None, None]
        );
    }

    #[test]
    fn a_metric_is_summed_over_one_label() {
        let text = "closed{worker=\"0\",code=\"normal\"} 3\nclosed{worker=\"1\",code=\"normal\"} 4\nclosed{worker=\"1\",code=\"kicked\"} 5\n";
        let metrics = Metrics::parse(&format!("HTTP/1.1 200 OK\r\n\r\n{text}")).unwrap();
        let sum = |label| metrics.sum_with("closed", label);
        assert_eq!(
            [sum("code=\"normal\""), sum("code=\"kicked\""), sum("code=\"kick\"")],
            [Some(7.0), Some(5.0), None]
        );
    }

    #[test]
    fn whatever_else_answers_is_an_error_that_says_what() {
        let error = Metrics::parse("HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().to_string();
        assert!(error.contains("404"), "{error}");
        assert!(Metrics::parse("SSH-2.0-x").is_err());
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(Metrics::fetch(nobody).is_err());
    }
}
