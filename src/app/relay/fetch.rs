//! Objects that messages point to, in S3.

use std::pin::Pin;

use binpulse_relay::open::{FetchError, Pointer};
use binpulse_relay::route::Fetch;

use crate::aws;
use crate::sink::claim_check::{ReadError, Reader};

/// Fetches from S3.
pub(super) struct Objects(Option<Reader>);

impl Objects {
    pub(super) fn new(shared: &aws::Shared, endpoint_url: Option<&str>) -> Self {
        Self(Reader::new(shared, endpoint_url))
    }
}

impl Fetch for Objects {
    fn fetch(
        &self,
        pointer: Pointer,
        bytes_max: u64,
    ) -> Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send + '_>> {
        Box::pin(async move {
            let Some(reader) = &self.0 else {
                return Err(FetchError::Away(String::from("there are no AWS credentials for S3")));
            };
            let read = reader.get(&pointer.bucket, &pointer.key, bytes_max).await;
            read.map_err(|error| match error {
                ReadError::Away { .. } => FetchError::Away(error.to_string()),
                ReadError::Gone { .. } => FetchError::Gone(error.to_string()),
            })
        })
    }
}
