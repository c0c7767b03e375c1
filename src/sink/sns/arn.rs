//! The shape of a topic ARN. Pure.

use crate::aws;
use crate::sink::Error;

/// A topic's ARN, taken apart: `arn:partition:sns:region:account:name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicArn<'a> {
    /// Region it lies in.
    pub region: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl<'a> TopicArn<'a> {
    /// Checks and takes apart; names as in the SNS API reference of CreateTopic: 1 to 256 of
    /// `A-Za-z0-9_-`, and `.fifo` at the end of a FIFO topic's.
    pub fn parse(arn: &'a str) -> Result<Self, Error> {
        let error = |why| Error::NotATopic { arn: arn.to_owned(), why };
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, service, region, account, name] = parts.as_slice() else {
            return Err(error("it must look like arn:aws:sns:REGION:ACCOUNT:NAME"));
        };
        if !partition.starts_with("aws") {
            return Err(error("its partition must be aws, aws-cn, aws-us-gov or the like"));
        }
        if *service != "sns" {
            return Err(error("its service must be sns"));
        }
        if region.is_empty() {
            return Err(error("it names no region"));
        }
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error("its account must be 12 digits"));
        }
        let plain = name.strip_suffix(".fifo").unwrap_or(name);
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain.is_empty() || name.len() > 256 || !plain.bytes().all(valid) {
            return Err(error("its name must be 1 to 256 of A-Z a-z 0-9 _ -, then maybe .fifo"));
        }
        Ok(Self { region, name })
    }

    /// Whether it is a FIFO topic's.
    #[cfg(feature = "testing")]
    pub fn is_fifo(&self) -> bool {
        aws::is_fifo(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_arns_are_taken_apart() {
        let arn = TopicArn::parse("arn:aws:sns:eu-west-1:123456789012:cdc-shop").expect("valid");
        assert_eq!((arn.region, arn.name, arn.is_fifo()), ("eu-west-1", "cdc-shop", false));
        let arn =
            TopicArn::parse("arn:aws-cn:sns:cn-north-1:123456789012:cdc.fifo").expect("valid");
        assert!(arn.is_fifo());
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for (arn, why) in [
            ("changes", "look like"),
            ("arn:aws:sqs:eu-west-1:123456789012:queue", "service"),
            ("arn:aws:sns:eu-west-1:123456789012:changes:1-2-3", "look like"),
            ("arn:aws:sns::123456789012:changes", "region"),
            ("arn:aws:sns:eu-west-1:12345:changes", "account"),
            ("arn:aws:sns:eu-west-1:123456789012:cha.nges", "name"),
            ("arn:aws:sns:eu-west-1:123456789012:.fifo", "name"),
            ("arn:gcp:sns:eu-west-1:123456789012:changes", "partition"),
        ] {
            let error = TopicArn::parse(arn).expect_err(arn).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
