//! Just enough HTTP/1.1 to be scraped: `GET` and `HEAD` of a few paths, one request per connection.

use super::metrics::{Exposition, render};
use super::snapshot::Snapshot;

/// Longest request head that is read.
pub(super) const HEAD_LEN_MAX: usize = 8 * 1024;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'r> {
    /// Without the body.
    pub(super) head_only: bool,
    /// The path, without a query.
    pub(super) path: &'r str,
    /// The `Accept` header; empty if there is none.
    pub(super) accept: &'r str,
}

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not HTTP/1.
    Malformed,
    /// Neither `GET` nor `HEAD`.
    Method,
    /// More than [`HEAD_LEN_MAX`] bytes.
    TooLong,
}

/// Parses a request head; `None` while its end has not arrived.
///
/// # Errors
/// [`Refused`] as soon as no further byte could mend it.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, Refused> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() >= HEAD_LEN_MAX { Err(Refused::TooLong) } else { Ok(None) };
    };
    if end + 4 > HEAD_LEN_MAX {
        return Err(Refused::TooLong);
    }
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Refused::Malformed)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::Malformed);
    };
    if !target.starts_with('/') || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(Refused::Malformed);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Refused::Method),
    };
    let mut accept = "";
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Refused::Malformed)?;
        if name.eq_ignore_ascii_case("accept") {
            accept = value.trim();
        }
    }
    let path = target.split('?').next().unwrap_or(target);
    Ok(Some(Request { head_only, path, accept }))
}

/// The whole response to a request.
#[must_use]
pub(super) fn answer(request: &Request<'_>, snapshot: &Snapshot<'_>) -> Vec<u8> {
    let plain = "text/plain; charset=utf-8";
    let (status, media_type, body) = match request.path {
        "/metrics" => {
            let exposition = Exposition::accepted(request.accept);
            ("200 OK", exposition.media_type(), render(snapshot, exposition))
        }
        "/healthz" => ("200 OK", plain, "alive\n".to_owned()),
        "/readyz" => match snapshot.not_ready() {
            None => ("200 OK", plain, snapshot.ready()),
            Some(reason) => ("503 Service Unavailable", plain, format!("not ready: {reason}\n")),
        },
        "/status" => ("200 OK", "application/json", format!("{}\n", snapshot.json())),
        "/" => ("200 OK", plain, "/metrics /healthz /readyz /status\n".to_owned()),
        _ => ("404 Not Found", plain, "not found\n".to_owned()),
    };
    response(status, media_type, &body, request.head_only)
}

/// The whole response when there was no request.
#[must_use]
pub(super) fn refuse(refused: Refused) -> Vec<u8> {
    let (status, body) = match refused {
        Refused::Malformed => ("400 Bad Request", "bad request\n"),
        Refused::Method => ("405 Method Not Allowed\r\nAllow: GET, HEAD", "GET and HEAD only\n"),
        Refused::TooLong => ("431 Request Header Fields Too Large", "too long\n"),
    };
    response(status, "text/plain; charset=utf-8", body, false)
}

/// The whole response to a connection that asked for nothing and lost its place to another one.
#[must_use]
pub(super) fn busy() -> Vec<u8> {
    response("503 Service Unavailable", "text/plain; charset=utf-8", "too many connections\n", false)
}

fn response(status: &str, media_type: &str, body: &str, head_only: bool) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use driver::Errno;
    use proptest::prelude::*;

    use super::super::snapshot::tests::with_snapshot;
    use super::*;
    use crate::counters::health::Reason;

    fn get(path: &str) -> String {
        let mut answered = String::new();
        with_snapshot(|snapshot| {
            let bytes = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let request = parse(bytes.as_bytes()).unwrap().unwrap();
            answered = String::from_utf8(answer(&request, snapshot)).unwrap();
        });
        answered
    }

    #[test]
    fn a_request_is_parsed_when_its_last_byte_is_there() {
        let bytes = b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\naCCept:  text/plain \r\n\r\n";
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), Ok(None));
        }
        let request = Request { head_only: false, path: "/metrics", accept: "text/plain" };
        assert_eq!(parse(bytes), Ok(Some(request)));
    }

    #[test]
    fn what_is_not_a_get_of_a_path_is_refused() {
        for (text, refused) in [
            ("POST / HTTP/1.1\r\n\r\n", Refused::Method),
            ("GET / HTTP/2\r\n\r\n", Refused::Malformed),
            ("GET http://x/ HTTP/1.1\r\n\r\n", Refused::Malformed),
            ("GET /  HTTP/1.1\r\n\r\n", Refused::Malformed),
            ("\r\n\r\n", Refused::Malformed),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Refused::Malformed),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(refused), "{text:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_read_up_to_its_bound() {
        let mut bytes = b"GET / HTTP/1.1\r\nX: ".to_vec();
        bytes.resize(HEAD_LEN_MAX - 1, b'x');
        assert_eq!(parse(&bytes), Ok(None));
        bytes.push(b'x');
        assert_eq!(parse(&bytes), Err(Refused::TooLong));
        bytes.extend_from_slice(b"\r\n\r\n");
        assert_eq!(parse(&bytes), Err(Refused::TooLong));
    }

    #[test]
    fn probes_and_metrics_answer() {
        assert!(get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(get("/readyz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(get("/metrics").contains("gateway_links{worker=\"1\"} 0\n"));
        assert!(get("/other").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn a_gateway_that_stops_is_alive_but_not_ready() {
        with_snapshot(|snapshot| {
            let stopping = Snapshot { stopping: true, bans_read_only: None, ..*snapshot };
            let request = |path| Request { head_only: false, path, accept: "" };
            assert!(answer(&request("/readyz"), &stopping).starts_with(b"HTTP/1.1 503 "));
            assert!(answer(&request("/healthz"), &stopping).starts_with(b"HTTP/1.1 200 "));
        });
    }

    #[test]
    fn without_a_stream_for_every_route_it_is_not_ready_and_says_which_and_why() {
        with_snapshot(|snapshot| {
            let ask = || {
                let request = Request { head_only: false, path: "/readyz", accept: "" };
                String::from_utf8(answer(&request, snapshot)).unwrap()
            };
            let [first, second] = [0, 1].map(|worker: usize| &snapshot.counters[worker].endpoints[0]);
            assert!(ask().ends_with("\r\n\r\nready\n"), "one worker has a stream");
            first.ended(Reason::Ended);
            second.failed(Reason::Errno(Errno(libc::ECONNREFUSED)));
            let said = ask();
            let why = "route chat has no stream (endpoint chat: the backend ended the stream)\n";
            assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with(why), "{said}");
            first.opened();
            first.left_out.set(1);
            assert!(ask().contains("route chat has no stream"), "one that is left out takes no requests");
        });
    }

    #[test]
    fn head_has_the_length_but_not_the_body() {
        with_snapshot(|snapshot| {
            let request = Request { head_only: true, path: "/healthz", accept: "" };
            let text = String::from_utf8(answer(&request, snapshot)).unwrap();
            assert!(text.contains("Content-Length: 6\r\n") && text.ends_with("\r\n\r\n"));
        });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
            let mut ended = bytes;
            ended.extend_from_slice(b"\r\n\r\n");
            prop_assert!(!matches!(parse(&ended), Ok(None)));
        }
    }
}
