//! A client of an HTTP server, over the connections that the upstream is asked by, with TLS where the URL says so.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::line::untrusted;
use crate::config;
use crate::net::dial::{Dial, Place, Trust};
use crate::net::upstream::{Outgoing, Reach, Upstream};
use crate::session::Failure;

/// Bytes of an answer at most. The longest that is asked for are the figures, some kilobytes.
const BODY_MAX: usize = 1 << 20;

/// Where HTTP is spoken.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where its server is.
    pub place: Place,
    /// What goes before each path: empty, or a path that ends without a slash.
    pub base: String,
}

impl Site {
    /// The one at this URL, which over TLS is known by this.
    pub fn of(url: &config::Upstream, trust: &Trust) -> Site {
        let tls = url.is_secure.then(|| trust.clone());
        Site { place: Place::Tcp { host: url.host.clone(), port: url.port, tls }, base: url.base.clone() }
    }

    /// Reads `http://`, `https://` or `unix:///path/of/socket`.
    pub fn parse(text: &str, trust: &Trust) -> Option<Site> {
        match text.strip_prefix("unix://") {
            Some(path) => path.starts_with('/').then(|| Site { place: Place::Unix(path.into()), base: String::new() }),
            None => text.parse().ok().map(|url| Site::of(&url, trust)),
        }
    }

    /// What its `Host` is: the usual port goes without saying, and some servers know themselves by that form alone.
    pub fn authority(&self) -> String {
        let shown = self.place.to_string();
        match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp { port, tls, .. } => {
                let usual = if tls.is_some() { ":443" } else { ":80" };
                let is_usual = format!(":{port}") == usual;
                shown.strip_suffix(usual).filter(|_| is_usual).map(str::to_owned).unwrap_or(shown)
            }
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.place {
            Place::Unix(_) => "unix",
            Place::Tcp { tls: Some(_), .. } => "https",
            Place::Tcp { .. } => "http",
        };
        write!(f, "{scheme}://{}{}", self.place, self.base)
    }
}

/// A client of one server.
pub struct Http {
    reach: Arc<Reach>,
    runtime: Runtime,
}

impl Http {
    /// Of the server at this address. Nothing is asked yet.
    pub fn new(to: &Site) -> io::Result<Http> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let reach = Reach::by(Dial::new(to.place.clone()), to.authority(), to.base.clone(), 1);
        Ok(Http { reach: Arc::new(reach), runtime })
    }

    /// Why TLS to it failed the last time, and what helps, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.reach.trouble().map(|why| untrusted(&why))
    }

    /// Asks once, over a connection of its own, for an answer of at most a megabyte within this time.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        within: Duration,
    ) -> Result<Response<Bytes>, Failure> {
        self.whole(self.request(method, path, headers)?, within)
    }

    /// The same with a JSON document that is handed in.
    pub fn post_json(
        &self,
        path: &str,
        mut headers: HeaderMap,
        document: Bytes,
        within: Duration,
    ) -> Result<Response<Bytes>, Failure> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self.request(Method::POST, path, headers)?;
        self.whole(request.map(|_| Outgoing::Full(Some(document))), within)
    }

    fn whole(&self, request: Request<Outgoing>, within: Duration) -> Result<Response<Bytes>, Failure> {
        let upstream = Upstream::new(self.reach.clone());
        let answer = upstream.ask(request, BODY_MAX, Instant::now() + within);
        LocalSet::new().block_on(&self.runtime, answer)
    }

    /// Asks for server-sent events, and gives the first as it came, or the whole answer if it is something else.
    pub fn first_event(&self, path: &str, headers: HeaderMap, within: Duration) -> Result<Response<Bytes>, Failure> {
        let request = self.request(Method::GET, path, headers)?;
        let upstream = Upstream::new(self.reach.clone());
        let deadline = Instant::now() + within;
        let read = async {
            let (parts, mut body) = upstream.call(request, deadline).await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Failure::Reset)?;
                bytes.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
                if bytes.len() > BODY_MAX {
                    return Err(Failure::TooLarge);
                }
                if memchr::memmem::find(&bytes, b"\n\n").is_some() {
                    break;
                }
            }
            Ok(Response::from_parts(parts, Bytes::from(bytes)))
        };
        let all = async { tokio::time::timeout_at(deadline.into(), read).await.unwrap_or(Err(Failure::Timeout)) };
        LocalSet::new().block_on(&self.runtime, all)
    }

    fn request(&self, method: Method, path: &str, headers: HeaderMap) -> Result<Request<Outgoing>, Failure> {
        let mut request = Request::new(Outgoing::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| Failure::Malformed)?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(self.reach.authority()).map_err(|_| Failure::Malformed)?;
        request.headers_mut().entry(HOST).or_insert(host);
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(OWN_NAME));
        Ok(request)
    }
}

const USER_AGENT: HeaderName = http::header::USER_AGENT;
const OWN_NAME: &str = concat!("cloakroom/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_port_where_that_is_not_the_usual_one() {
        let of = |url: &str| Site::parse(url, &Trust::default()).expect("a URL").authority();
        assert_eq!(["https://a", "https://a:80", "http://a/b", "http://a:443"].map(of), ["a", "a:80", "a", "a:443"]);
        assert_eq!(["http://[::1]", "https://[::1]:8443", "unix:///a"].map(of), ["[::1]", "[::1]:8443", "localhost"]);
    }
}
