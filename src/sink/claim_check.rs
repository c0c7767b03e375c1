//! Bodies that are too large for a topic, put into S3, with a pointer in their place.
//!
//! The convention is that of Amazon's extended client libraries: the message's body is
//! `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]`, and a
//! Number attribute `ExtendedPayloadSize` has the body's size in bytes. The object holds the very
//! text that the body would have been. Nothing is ever deleted here: a lifecycle rule of the bucket
//! does that, later than the longest retention of any queue.
//!
//! One kind of request, a PUT, is all that is needed, so it is signed and sent here: the S3 SDK
//! costs more to compile than all other AWS crates together.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Collected, Limited};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::FailureClass;
use super::sns::policy::classify_call;
use crate::aws;
use crate::encode::{Attribute, DataType, Message};
use crate::excerpt::excerpt;

/// Attribute with the size of what was put into S3.
const SIZE_ATTRIBUTE: &str = "ExtendedPayloadSize";
/// Credentials are renewed so long before they expire.
const RENEW_BEFORE: Duration = Duration::from_mins(5);
/// Largest error document that is read, bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Where to put bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Bucket, in the topic's region.
    pub bucket: String,
    /// What keys begin with, `binpulse/` say: up to 256 of `A-Za-z0-9/_.-`.
    pub prefix: String,
    /// URL of a stand-in; `None`: S3's own.
    pub endpoint_url: Option<String>,
    /// Deadlines of each request.
    pub deadlines: aws::Deadlines,
}

/// Why a body could not be put into S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration can't work.
    #[error("claim check: {0}")]
    Config(String),
    /// S3 did not take it. Whether that may pass is the class's to say.
    #[error("claim check: cannot put {key} into bucket {bucket}: {code}: {text}")]
    Put {
        /// Class of the failure.
        class: FailureClass,
        /// S3's error code, or the kind of failure.
        code: String,
        /// Words.
        text: String,
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

/// See the head of this file.
#[derive(Debug)]
pub struct ClaimCheck {
    config: Config,
    base: String,
    region: String,
    credentials: Cached,
    connector: Connector,
}

/// Credentials until shortly before they expire.
#[derive(Debug)]
struct Cached {
    provider: SharedCredentialsProvider,
    known: Mutex<Option<Credentials>>,
}

impl ClaimCheck {
    /// Checks the configuration; sends nothing.
    pub fn new(config: Config, shared: &aws::Shared, region: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Err(Error::Config(why.to_owned()));
        let in_key = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
        if config.prefix.len() > 256 || !config.prefix.bytes().all(in_key) {
            return wrong("the prefix must be up to 256 of A-Z a-z 0-9 / _ . -");
        }
        let in_bucket = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
        };
        if !(3..=63).contains(&config.bucket.len()) || !config.bucket.bytes().all(in_bucket) {
            return wrong("the bucket's name must be 3 to 63 of a-z 0-9 . -");
        }
        let Some(provider) = shared.credentials() else { return wrong("there are no credentials") };
        let base = base_url(&config.bucket, config.endpoint_url.as_deref(), region);
        let connector = shared.connector(config.deadlines);
        let region = region.to_owned();
        let credentials = Cached { provider, known: Mutex::new(None) };
        Ok(Self { config, base, region, credentials, connector })
    }

    /// Puts the body into S3 and a pointer in its place. The same body gives the same key, so doing
    /// it again after a crash changes nothing.
    pub async fn check_in(&self, mut message: Message) -> Result<Message, (Error, Box<Message>)> {
        let key = self.key_of(&message.body);
        if let Err(error) = self.put(&key, &message.body).await {
            return Err((error, Box::new(message)));
        }
        let size = message.body.len();
        message.body = pointer(&self.config.bucket, &key);
        message.attributes.push(Attribute {
            name: SIZE_ATTRIBUTE.into(),
            data_type: DataType::Number,
            value: size.to_string(),
        });
        Ok(message)
    }

    fn key_of(&self, body: &str) -> String {
        let digest = Sha256::digest(body.as_bytes());
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut key = self.config.prefix.clone();
        key.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
        key
    }

    async fn put(&self, key: &str, body: &str) -> Result<(), Error> {
        let failed = |class: FailureClass, code: &str, text: String| Error::Put {
            class,
            code: code.to_owned(),
            text,
            bucket: self.config.bucket.clone(),
            key: key.to_owned(),
        };
        let url = format!("{}/{key}", self.base);
        let attempt = async {
            let credentials = self
                .credentials
                .get()
                .await
                .map_err(|text| failed(FailureClass::Credentials, "NoCredentials", text))?;
            let now = SystemTime::now();
            let request = signed("PUT", &url, body, credentials, &self.region, now)
                .map_err(|text| failed(FailureClass::Refused, "UnfitRequest", text))?;
            let response = self.connector.call(request).await.map_err(|error| {
                let class = if error.is_timeout() {
                    FailureClass::Timeout
                } else {
                    FailureClass::Unreachable
                };
                failed(class, class.as_str(), error.to_string())
            })?;
            let status = response.status().as_u16();
            // The answer is read in any case, so that the connection can be used again.
            let document = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect().await;
            if (200..300).contains(&status) {
                return Ok(());
            }
            let document = document.map(Collected::to_bytes).unwrap_or_default();
            let document = String::from_utf8_lossy(&document);
            let code = element(&document, "Code").unwrap_or("UnreadableAnswer");
            let text = element(&document, "Message").unwrap_or_default();
            let text = excerpt(&format!("{text} (HTTP {status})"));
            let class = match code {
                "NoSuchBucket" => FailureClass::NotFound,
                _ => classify_call(code, Some(status)),
            };
            Err(failed(class, &excerpt(code), text))
        };
        let deadline = self.config.deadlines.operation;
        let late =
            |_| failed(FailureClass::Timeout, "Timeout", format!("no answer in {deadline:?}"));
        tokio::time::timeout(deadline, attempt).await.map_err(late)?
    }
}

impl Cached {
    async fn get(&self) -> Result<Credentials, String> {
        let mut cached = self.known.lock().await;
        let renew_at = SystemTime::now() + RENEW_BEFORE;
        let is_fresh = |known: &&Credentials| known.expiry().is_none_or(|expiry| expiry > renew_at);
        if let Some(known) = cached.as_ref().filter(is_fresh) {
            return Ok(known.clone());
        }
        let fresh = self.provider.provide_credentials().await;
        let fresh = fresh.map_err(|error| aws::chain(&error))?;
        Ok(cached.insert(fresh).clone())
    }
}

/// Fetches what was put into S3: for who reads messages.
#[derive(Debug)]
pub struct Reader {
    endpoint_url: Option<String>,
    region: String,
    credentials: Cached,
    connector: Connector,
    deadline: Duration,
}

/// Why an object was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// S3 can't be asked, or does not answer as it should: it may do so later.
    #[error("object {key} of bucket {bucket}: {text}")]
    Away {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Words.
        text: String,
    },
    /// It is not there, or is no object of a claim check.
    #[error("object {key} of bucket {bucket}: {text}")]
    Gone {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Words.
        text: String,
    },
}

impl Reader {
    /// `None` where there are no credentials to sign with.
    pub fn new(shared: &aws::Shared, endpoint_url: Option<&str>) -> Option<Self> {
        let deadlines = aws::Deadlines::default();
        Some(Self {
            endpoint_url: endpoint_url.map(str::to_owned),
            region: shared.region().unwrap_or("us-east-1").to_owned(),
            credentials: Cached { provider: shared.credentials()?, known: Mutex::new(None) },
            connector: shared.connector(deadlines),
            deadline: deadlines.operation,
        })
    }

    /// The text of an object. Bucket and key come from a message: what is not made of the characters that a
    /// claim check has is not asked for.
    pub async fn get(&self, bucket: &str, key: &str, bytes_max: u64) -> Result<String, ReadError> {
        let names = |text: String| (excerpt(bucket), excerpt(key), text);
        let away = |text: String| {
            let (bucket, key, text) = names(text);
            ReadError::Away { bucket, key, text }
        };
        let gone = |text: &str| {
            let (bucket, key, text) = names(text.to_owned());
            ReadError::Gone { bucket, key, text }
        };
        let is_plain = |text: &str, others: &[u8]| {
            let is_in = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
            (3..=1024).contains(&text.len()) && text.bytes().all(is_in)
        };
        if !is_plain(bucket, b".-") || !is_plain(key, b"/_.-") || key.contains("..") {
            return Err(gone("found a name with other characters than a claim check has"));
        }
        let url = base_url(bucket, self.endpoint_url.as_deref(), &self.region);
        let url = format!("{url}/{key}");
        let attempt = async {
            let credentials = self.credentials.get().await.map_err(away)?;
            let request = signed("GET", &url, "", credentials, &self.region, SystemTime::now());
            let answer = self.connector.call(request.map_err(away)?).await;
            let answer = answer.map_err(|error| away(error.to_string()))?;
            let status = answer.status().as_u16();
            let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            let body = Limited::new(answer.into_body(), most).collect().await;
            match (status, body) {
                (200, Ok(body)) => String::from_utf8(body.to_bytes().to_vec())
                    .map_err(|_| gone("found bytes, expected text")),
                (200, Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                    Err(gone("found an object that is larger than allowed"))
                }
                (200, Err(error)) => Err(away(excerpt(&error.to_string()))),
                (404, _) => Err(gone("not found (HTTP 404): has a lifecycle rule removed it?")),
                (status, _) => Err(away(format!("HTTP {status}"))),
            }
        };
        let late = |_| away(format!("no answer in {:?}", self.deadline));
        tokio::time::timeout(self.deadline, attempt).await.map_err(late)?
    }
}

/// URL of the bucket. Names with dots do not match S3's certificate as a host, so they go into the
/// path, as they do with stand-ins.
fn base_url(bucket: &str, endpoint_url: Option<&str>, region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    match endpoint_url {
        Some(url) => format!("{}/{bucket}", url.trim_end_matches('/')),
        None if bucket.contains('.') => format!("https://s3.{region}.{domain}/{bucket}"),
        None => format!("https://{bucket}.s3.{region}.{domain}"),
    }
}

/// The body of a message whose own is in S3. Neither name needs escaping: see [`ClaimCheck::new`].
fn pointer(bucket: &str, key: &str) -> String {
    format!(
        "[\"software.amazon.payloadoffloading.PayloadS3Pointer\",\
         {{\"s3BucketName\":\"{bucket}\",\"s3Key\":\"{key}\"}}]"
    )
}

fn signed(
    method: &'static str,
    url: &str,
    body: &str,
    credentials: Credentials,
    region: &str,
    now: SystemTime,
) -> Result<HttpRequest, String> {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let payload = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new(method, url, std::iter::empty(), payload);
    let instructions = signable.and_then(|request| sign(request, &parameters));
    let (instructions, _) = instructions.map_err(|error| error.to_string())?.into_parts();

    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method(method).map_err(|error| error.to_string())?;
    request.set_uri(url).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    let mut put = |name: String, value: String| {
        headers.try_insert(name, value).map(drop).map_err(|error| error.to_string())
    };
    for (name, value) in instructions.headers() {
        put(name.to_owned(), value.to_owned())?;
    }
    put("content-length".to_owned(), body.len().to_string())?;
    Ok(request)
}

/// Text of the first element of this name.
fn element<'x>(document: &'x str, name: &str) -> Option<&'x str> {
    let (_, after) = document.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::provider::future;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::sink::sns::fixture::message;

    /// S3 in the place of the real one, with one answer to one request; its URL.
    async fn s3(status: u16, body: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body].concat();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            let is_whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request);
                let length = text.split_once("content-length: ").and_then(|(_, rest)| {
                    rest.split_once("\r\n").and_then(|(length, _)| length.parse::<usize>().ok())
                });
                text.split_once("\r\n\r\n").is_some_and(|(_, body)| Some(body.len()) == length)
            };
            while !is_whole(&request) {
                assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0);
            }
            stream.write_all(&answer).await.expect("answered");
        });
        url
    }

    #[tokio::test]
    async fn what_is_not_put_comes_back_whole_with_the_class_of_what_s3_said() {
        let told = |code: &str| format!("<Error><Code>{code}</Code><Message>-</Message></Error>");
        let cases = [
            (200, String::new(), None),
            (299, String::new(), None),
            (300, String::new(), Some((FailureClass::Unknown, "UnreadableAnswer"))),
            (404, told("NoSuchBucket"), Some((FailureClass::NotFound, "NoSuchBucket"))),
            (403, told("AccessDenied"), Some((FailureClass::Denied, "AccessDenied"))),
            (503, told("SlowDown"), Some((FailureClass::Throttled, "SlowDown"))),
            (500, "gibberish".to_owned(), Some((FailureClass::ServerError, "UnreadableAnswer"))),
        ];
        let shared = aws::Shared::stand_in("eu-west-1").await;
        for (status, answer, expected) in cases {
            let endpoint_url = Some(s3(status, answer.as_bytes()).await);
            let config = Config { endpoint_url, ..config("bucket", "claims/") };
            let claims = ClaimCheck::new(config, &shared, "eu-west-1").expect("it can work");
            let sent = message(1, 1, 10);
            match (claims.check_in(sent.clone()).await, expected) {
                (Ok(found), None) => {
                    assert_eq!(found.body, pointer("bucket", &claims.key_of(&sent.body)));
                    let size = &found.attributes[sent.attributes.len()];
                    assert_eq!((&*size.name, &*size.value), ("ExtendedPayloadSize", "10"));
                }
                (Err((Error::Put { class, code, .. }, back)), Some(expected)) => {
                    assert_eq!((class, &*code), expected);
                    assert_eq!(*back, sent);
                }
                (found, _) => panic!("{status} {answer}: {found:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_object_is_text_of_the_size_allowed_and_what_may_come_later_is_away() {
        let shared = aws::Shared::stand_in("eu-west-1").await;
        let read = async |status, body: &[u8]| {
            let url = s3(status, body).await;
            let reader = Reader::new(&shared, Some(&url)).expect("there are credentials");
            reader.get("bucket", "claims/k", 5).await
        };
        assert_eq!(read(200, b"hello").await, Ok("hello".to_owned()));
        for (status, body, is_gone) in [
            (200, &b"hello!"[..], true),
            (200, b"\xff", true),
            (404, b"", true),
            (403, b"", false),
            (500, b"hello", false),
        ] {
            match read(status, body).await {
                Err(ReadError::Gone { .. }) => assert!(is_gone, "{status}"),
                Err(ReadError::Away { .. }) => assert!(!is_gone, "{status}"),
                Ok(found) => panic!("{status}: {found}"),
            }
        }
    }

    #[tokio::test]
    async fn an_object_with_a_name_that_no_claim_check_gives_is_not_asked_for() {
        let shared = aws::Shared::stand_in("eu-west-1").await;
        let long = "k".repeat(1025);
        for (bucket, key) in [
            ("ab", "key"),
            ("a_bucket", "key"),
            ("a/bucket", "key"),
            ("bucket", "k"),
            ("bucket", "claims/../key"),
            ("bucket", "k?y"),
            ("bucket", &long),
        ] {
            // Nobody listens: a request would find S3 away.
            let reader = Reader::new(&shared, Some("http://127.0.0.1:1")).expect("credentials");
            let found = reader.get(bucket, key, 5).await;
            assert!(matches!(found, Err(ReadError::Gone { .. })), "{bucket} {key}: {found:?}");
        }
    }

    /// Gives credentials for so long, and counts.
    #[derive(Debug)]
    struct Provider(Option<Duration>, Arc<AtomicUsize>);

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.1.fetch_add(1, Ordering::Relaxed);
            let expiry = self.0.map(|valid| SystemTime::now() + valid);
            future::ProvideCredentials::ready(Ok(Credentials::new("a", "b", None, expiry, "test")))
        }
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        for (valid, asked) in [(None, 1), (Some(RENEW_BEFORE * 2), 1), (Some(RENEW_BEFORE / 2), 3)]
        {
            let count = Arc::default();
            let provider = SharedCredentialsProvider::new(Provider(valid, Arc::clone(&count)));
            let cached = Cached { provider, known: Mutex::new(None) };
            for _ in 0..3 {
                cached.get().await.expect("credentials");
            }
            assert_eq!(count.load(Ordering::Relaxed), asked, "{valid:?}");
        }
    }

    fn config(bucket: &str, prefix: &str) -> Config {
        Config {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint_url: None,
            deadlines: aws::Deadlines::default(),
        }
    }

    /// Expected values from botocore 1.x's S3SigV4Auth for the same request.
    #[test]
    fn a_put_is_signed_as_another_sdk_signs_it() {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "test");
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(498_675);
        let url = "https://s3.eu-west-1.amazonaws.com/bucket/claims/k1";
        let request = signed("PUT", url, "hello", credentials, "eu-west-1", now).expect("signed");
        let header = |name| request.headers().get(name).unwrap_or_default();
        assert_eq!(header("x-amz-date"), "20261121T030000Z");
        assert_eq!(header("x-amz-security-token"), "token");
        assert_eq!(header("content-length"), "5");
        assert_eq!(
            header("x-amz-content-sha256"),
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(
            header("authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-west-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
             Signature=2c2b6c6750c50c6c9a365c01413154db1b422e9b567eb3f0f2d182de087d0b6e"
        );
    }

    #[test]
    fn the_pointer_is_the_extended_clients() {
        assert_eq!(
            pointer("b", "p/k"),
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"p/k"}]"#
        );
    }

    #[tokio::test]
    async fn names_that_would_need_escaping_are_refused() {
        let shared = aws::Shared::stand_in("eu-west-1").await;
        for (bucket, prefix) in [("B", ""), ("my_bucket", ""), ("bucket", "a b/"), ("bucket", "\"")]
        {
            let made = ClaimCheck::new(config(bucket, prefix), &shared, "eu-west-1");
            assert!(matches!(made, Err(Error::Config(_))), "{bucket} {prefix}");
        }
        let long = |length| "x".repeat(length);
        for (bucket, prefix, is_good) in [
            ("abc".to_owned(), String::new(), true),
            ("my.bucket-1".to_owned(), "binpulse/A_b.c-9/".to_owned(), true),
            ("ab".to_owned(), String::new(), false),
            (long(63), long(256), true),
            (long(64), String::new(), false),
            (long(63), long(257), false),
        ] {
            let made = ClaimCheck::new(config(&bucket, &prefix), &shared, "eu-west-1");
            assert_eq!(made.is_ok(), is_good, "{bucket} {prefix}");
        }
    }

    #[tokio::test]
    async fn a_key_is_the_prefix_and_the_bodys_digest() {
        let shared = aws::Shared::stand_in("eu-west-1").await;
        let made = ClaimCheck::new(config("bucket", "claims/"), &shared, "eu-west-1");
        assert_eq!(
            made.expect("it can work").key_of("hello"),
            "claims/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
    }

    #[test]
    fn buckets_are_hosts_unless_their_names_have_dots() {
        let url = |bucket| base_url(bucket, None, "eu-west-1");
        assert_eq!(url("claims"), "https://claims.s3.eu-west-1.amazonaws.com");
        assert_eq!(url("a.b.c"), "https://s3.eu-west-1.amazonaws.com/a.b.c");
        let china = base_url("claims", None, "cn-north-1");
        assert_eq!(china, "https://claims.s3.cn-north-1.amazonaws.com.cn");
        let stand_in = base_url("claims", Some("http://stand-in:4566/"), "eu-west-1");
        assert_eq!(stand_in, "http://stand-in:4566/claims");
    }
}
