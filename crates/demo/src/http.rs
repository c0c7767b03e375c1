//! As much HTTP as it takes to ask a program on this machine how it is.

use tokio::net::TcpStream;

// The service asks in the same way, and the demo does not use its library.
#[allow(unreachable_pub, reason = "it is a public part of the service's library")]
#[path = "../../../src/local_http.rs"]
mod local_http;

pub use local_http::{Answer, Error as HttpError};

/// Asks `address` (host and port) for `path`. The answer's body ends with the connection: HTTP/1.0.
pub async fn get(address: &str, path: &str) -> Result<Answer, HttpError> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        local_http::exchange_over(stream, "GET", address, path, "").await
    };
    local_http::within_deadline(address, path, exchange).await
}
